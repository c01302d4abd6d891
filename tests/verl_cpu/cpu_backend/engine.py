"""verl's FSDP engines on the device "cpu". Two things differ: memory is not pinned, and the critic's attention is not flash-attention."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
from __future__ import annotations

from typing import Any

import verl.utils.model as models
from transformers import AutoModelForTokenClassification
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl as fsdp


class _Unpinned:
    def _build_fsdp_module(self, module: Any) -> Any:
        pinned = fsdp.CPUOffloadPolicy
        fsdp.CPUOffloadPolicy = lambda pin_memory=True: pinned(pin_memory=False)
        try:
            return super()._build_fsdp_module(module)  # pyright: ignore[reportAttributeAccessIssue]
        finally:
            fsdp.CPUOffloadPolicy = pinned


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")
class PolicyEngine(_Unpinned, fsdp.FSDPEngineWithLMHead):
    pass


@EngineRegistry.register(model_type="value_model", backend=["fsdp", "fsdp2"], device="cpu")
class CriticEngine(_Unpinned, fsdp.FSDPEngineWithValueHead):
    def _build_module(self) -> Any:
        load = models.load_valuehead_model
        models.load_valuehead_model = _load_critic
        try:
            return super()._build_module()
        finally:
            models.load_valuehead_model = load


def _load_critic(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
    return AutoModelForTokenClassification.from_pretrained(local_path, dtype=torch_dtype, config=model_config, attn_implementation="eager")
