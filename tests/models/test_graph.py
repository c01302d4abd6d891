"""The recorded decode step: the same bits, the model's own weights, and no sizes worked out step by step."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.models.tiny import model as tiny_model

from zerosearch.models.kv_cache import RowModel


def _step(rows: RowModel, n: int) -> torch.Tensor:
    rows.cache.clear()
    rows.cache.reserve(n, 8)
    return torch.cat(rows.forward(np.arange(n)[:, None] + 5, 0, np.arange(n)), -1)  # logits and states


def _eager(rows: RowModel, n: int) -> torch.Tensor:
    recorded, rows._recorded = rows._recorded, None
    try:
        return _step(rows, n)
    finally:
        rows._recorded = recorded


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt2", "qwen2", "mistral"])
def test_bits_of_any_number_of_rows_and_no_size_left_but_the_first(kind: str) -> None:
    rows = RowModel(tiny_model(kind))
    for n in (1, 3, 7):
        assert torch.equal(_step(rows, n), _eager(rows, n))
    nodes = list(rows._recorded.graph.nodes())
    kinds = {node.kind() for node in nodes}
    assert "zerosearch::attend" in kinds
    assert "prim::CallMethod" not in kinds
    assert "aten::floor_divide" not in kinds
    left = {_dimension(node) for node in nodes if node.kind() == "aten::size"}
    assert left <= ({0} if kind != "gpt2" else {0, -1})  # gpt2 asks for a size right behind attention, of which a trace knows no shape


def _dimension(node: Any) -> Any:
    return list(node.inputs())[1].toIValue()


def test_it_refers_to_the_weights_and_leaves_the_model_in_training() -> None:
    model = tiny_model("qwen3").train()
    rows = RowModel(model)
    before = _step(rows, 3)
    assert model.training
    assert all(module.training for module in model.modules())
    with torch.no_grad():
        for parameter in model.parameters():  # as an optimiser's step does
            parameter.mul_(1.5)
    after = _step(rows, 3)
    assert not torch.equal(before, after)
    assert torch.equal(after, _eager(rows, 3))
