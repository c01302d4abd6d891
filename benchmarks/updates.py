"""Shared by the benchmarks of an update: a random model and rollouts of given lengths, with a document between two turns."""

from __future__ import annotations

from typing import Any

import torch

from zerosearch.core.types import Author, Group, Question, Span, StopReason, Trajectory

QUESTION = Question("q", "?", ("a",))


def random_model(vocabulary: int = 2048, hidden: int = 128, layers: int = 4) -> Any:
    """The Qwen3 of the other benchmarks: 1.25 million parameters, float32."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=3 * hidden,
        max_position_embeddings=16384,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def rollouts(count: int, tokens: int, group_size: int, vocabulary: int) -> list[Group]:
    """`count` rollouts of `tokens`: a quarter prompt, a quarter written, a quarter document, a quarter written; rewards of both kinds."""
    generator, quarter = torch.Generator().manual_seed(1), tokens // 4
    groups = list[Group]()
    for start in range(0, count, group_size):
        made = list[Trajectory]()
        for sample in range(min(group_size, count - start)):
            authors = (Author.PROMPT, Author.POLICY, Author.ENVIRONMENT, Author.POLICY)
            ids = torch.randint(3, vocabulary, (4, quarter), generator=generator).tolist()
            spans = tuple(
                Span(a, tuple(row), "", (-7.6,) * quarter if a is Author.POLICY else ()) for a, row in zip(authors, ids, strict=True)
            )
            made.append(Trajectory(QUESTION, sample, spans, (), StopReason.ANSWERED, reward=float(sample % 2)))
        groups.append(Group(QUESTION, tuple(made)))
    return groups
