"""The cache of keys and values: what lies beyond a row's end is read, for speed, and is never seen; growing keeps what is stored."""

import numpy as np
import pytest
import torch
from tests.models.tiny import model as tiny_model

from zerosearch.models.kv_cache import RowModel


@torch.inference_mode()
def _logits_of_decode(rows: RowModel, starts: np.ndarray, capacity: int, beyond: float) -> torch.Tensor:
    """Logits after one more token for rows that hold starts[i] tokens; the memory behind these holds `beyond`."""
    n, longest = len(starts), int(starts.max())
    prompts = (np.arange(n)[:, None] * 7 + np.arange(longest)) % rows.vocabulary
    rows.cache.clear()
    rows.cache.reserve(n, capacity)
    rows.forward(prompts, 0, np.zeros(n, np.int64), starts - 1)
    for tensor in (*rows.cache.keys, *rows.cache.values):
        for row, start in enumerate(starts):
            tensor[row, :, start:] = beyond
    return rows.forward(np.full((n, 1), 3), 0, starts)[0]


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2", "mistral"])
@pytest.mark.parametrize("starts", [[9, 9, 9], [9, 4, 7], [1, 30, 2]], ids=["alike", "ragged", "far apart"])
def test_what_lies_behind_a_row_is_not_seen(kind: str, starts: list[int]) -> None:
    rows, at = RowModel(tiny_model(kind)), np.array(starts)
    cut = _logits_of_decode(rows, at, 1000, 0.0)  # so much room that only what is used is read
    assert rows.cache.read == rows.cache.length
    whole = _logits_of_decode(rows, at, rows.cache.length + 5, 1e3)
    assert rows.cache.read == rows.cache.capacity > rows.cache.length
    torch.testing.assert_close(whole, cut, rtol=1e-4, atol=1e-5)


def test_growing_keeps_what_is_stored_and_adds_zeros() -> None:
    rows = RowModel(tiny_model("qwen3"))
    rows.cache.reserve(2, 8)
    rows.forward(np.arange(10).reshape(2, 5), 0, np.zeros(2, np.int64), np.array([4, 4]))
    before = [tensor.clone() for tensor in (*rows.cache.keys, *rows.cache.values)]
    rows.cache.reserve(3, 12)
    for old, new in zip(before, (*rows.cache.keys, *rows.cache.values), strict=True):
        assert torch.equal(new[:2, :, :8], old)
        assert not new[2:].any()
        assert not new[:, :, 8:].any()
