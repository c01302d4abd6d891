"""Packed rows: nothing lost, nothing seen across, the same loss as one by one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.tiny import model, word_level
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.types import Document, Quality, Question
from zerosearch.engines.prompts import SIMULATOR_PROMPTS, WEB
from zerosearch.simulator.packing import IGNORED, Example, batch_of_rows, encode_pairs, pack
from zerosearch.simulator.pairs import SearchPair


def test_pack_by_pencil() -> None:
    assert pack([5, 4, 3, 2], 7) == [[0, 3], [1, 2]]
    assert pack([9, 1], 7) == [[0], [1]]
    assert pack([], 7) == []


@given(st.lists(st.integers(1, 12)), st.integers(12, 30))
def test_pack_loses_nothing(lengths: list[int], row_tokens: int) -> None:
    rows = pack(lengths, row_tokens)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= row_tokens for row in rows)


def test_only_the_reply_and_its_end_have_loss() -> None:
    pair = SearchPair(Question("q", "the capital ?", ("Paris",)), "capital", (Document("Paris"), Document("France")), Quality.USEFUL)
    tokens = TemplateRenderer(word_level())
    (example,) = encode_pairs(tokens, [pair], SIMULATOR_PROMPTS["tuned"], WEB)
    learned = [i for i in example.labels if i != IGNORED]
    assert learned == [*tokens.observation("Doc 1: Paris\nDoc 2: France"), tokens.tokenizer.eos_token_id]
    assert len(example.labels) == len(example.ids)


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2", "mistral"])
def test_a_packed_row_gives_the_loss_of_its_examples_one_by_one(kind: str) -> None:
    lm = model(kind)
    lm.config.use_cache = False
    lengths = [(9, 4), (14, 6), (5, 2), (11, 5)]
    generator = torch.Generator().manual_seed(0)
    examples = [Example(tuple(torch.randint(3, 300, (n,), generator=generator).tolist()), prompt) for n, prompt in lengths]

    def summed(rows: list[list[Example]]) -> float:
        batch = batch_of_rows(rows, 0)
        count = int((batch["labels"] != IGNORED).sum())
        with torch.no_grad():
            return float(lm(**batch, use_cache=False).loss) * count

    alone = sum(summed([[e]]) for e in examples)
    packed = summed([[examples[0], examples[1]], [examples[2], examples[3]]])
    assert packed == pytest.approx(alone, rel=1e-5)
