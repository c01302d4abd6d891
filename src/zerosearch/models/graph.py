"""A decode step recorded with `torch.jit.trace`, and what a recording need not do at every step taken out of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.jit._recursive import wrap_cpp_module

log = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]  # logits, and the states they are read off


def record(model: torch.nn.Module, step: Step, ids_N1: Tensor, positions_N1: Tensor) -> Step:
    """`step(ids_N1, positions_N1)`, which runs `model`, as a recording that refers to the model's weights; N is free.

    Raises whatever `torch.jit.trace` raises for a model that cannot be traced.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about every Python branch
        traced: Any = torch.jit.trace(_Recordable(model, step), (ids_N1, positions_N1), check_trace=False)
    try:
        return _inlined(_with_fixed_sizes(traced))
    except Exception as error:  # these parts of torch are not public: without them a step takes 3 to 6% longer
        log.info("the recording of a decode step is used as it came: %s", error)
        return traced


def _with_fixed_sizes(traced: Any) -> Any:
    """Every size but the first, the number of rows, is the model's own, and a number instead of an operator."""
    for module in traced.modules():
        if not module._c._has_method("forward"):
            continue
        graph = module._c._get_method("forward").graph
        for node in list(graph.findAllNodes("aten::size")):
            tensor, dimension = (value for value in node.inputs())
            sizes, dim = tensor.type().sizes(), dimension.toIValue()
            if sizes and dim is not None and dim % len(sizes):
                graph.setInsertPoint(node)
                node.output().replaceAllUsesWith(graph.insertConstant(sizes[dim]))
    return traced


def _inlined(traced: Any) -> Any:
    """One graph instead of a call per module, and computed what is constant now. The weights are still the model's (`True`, the last)."""
    frozen = torch._C._freeze_module(traced.eval()._c, [], True, True)
    return wrap_cpp_module(frozen)


class _Recordable(torch.nn.Module):
    """A step as a module that owns the model, so that a recording refers to its weights instead of copying them."""

    def __init__(self, model: torch.nn.Module, step: Step) -> None:
        super().__init__()
        self.model = model
        self._step = step

    def forward(self, ids_N1: Tensor, positions_N1: Tensor) -> tuple[Tensor, ...]:
        return self._step(ids_N1, positions_N1)
