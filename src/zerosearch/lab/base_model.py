"""The micro world's base model: an ordinary two-layer Qwen3, small enough to pretrain in front of the user.

The first layer sees a window of six tokens, the second the whole context; with full attention in both layers, the lookup skill, on which
everything depends, is not learned in this budget (docs/log.md).
"""

import random
from collections.abc import Container
from typing import Any

import torch

from zerosearch.lab.language import Entity, Names
from zerosearch.lab.streams import BASE_LIKE, Sample, Sloppiness, demonstration, mixed_text, one_relation


def build_model(vocab_size: int, seed: int, context: int = 640, width: int = 128) -> Any:
    """A random Qwen3ForCausalLM, initialised at 1/sqrt(fan-in): 0.34M parameters at width 128. `width` is a multiple of 64."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    layers = 2
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 64,
            head_dim=32,
            intermediate_size=2 * width,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            attention_bias=False,
            use_sliding_window=True,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = 0.02 if "embed" in name else weight.shape[1] ** -0.5 * ((2 * layers) ** -0.5 if into_residual else 1)
            torch.nn.init.normal_(weight, 0, std)
    return model


def pretraining_batch(seed: int, banned: Container[Entity], progress: float, size: int = 16) -> list[Sample]:
    """Mostly one-relation lists at first, mostly mixed text at the end; `progress` runs from 0 to 1."""
    rng = random.Random(f"pretrain/{seed}/{progress}")
    names = Names(rng, banned)
    share = 0.8 * (1 - 0.7 * progress)
    return [
        one_relation(rng, names, rng.choice((2, 3, 4, 5)), 9) if rng.random() < share else mixed_text(rng, names, 4, 8) for _ in range(size)
    ]


def demonstration_batch(seed: int, banned: Container[Entity], step: int, size: int = 24, sloppy: Sloppiness = BASE_LIKE) -> list[Sample]:
    """Three sloppy demonstrations for each page of plain text, so that lookup is not forgotten."""
    rng = random.Random(f"demonstrate/{seed}/{step}")
    names = Names(rng, banned)
    return [mixed_text(rng, names, 4, 8) if i % 4 == 0 else demonstration(rng, names, sloppy=sloppy) for i in range(size)]
