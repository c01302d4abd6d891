"""Saves memory at the cost of time: gradient checkpointing, switched on for one forward and backward pass only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zerosearch.core.errors import ModelNotUsable


@contextmanager
def checkpointed(model: Any, on: bool) -> Iterator[None]:
    """Here each layer keeps only its input and runs again in the backward pass. Wrap the forward and the backward pass, each in one.

    transformers checkpoints a layer in training mode. Only the layers themselves are put into it, not their modules,
    so that no dropout becomes active; afterwards everything is as it was. Raises ModelNotUsable for a model that cannot do it.
    """
    if not on:
        yield
        return
    if not any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        try:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise ModelNotUsable(f"this model cannot checkpoint gradients ({error}); set rl.gradient_checkpointing=false.") from error
    layers = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
