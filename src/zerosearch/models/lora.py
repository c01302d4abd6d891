"""LoRA: a small adapter is trained instead of the whole model (arXiv 2106.09685). Needs peft, of the extra `tune`.

RL puts the adapter inside the model, which otherwise stays the same object (`attach`); `save_pretrained` then writes the adapter
alone. Tuning puts it around the model (`wrap`), because transformers' Trainer can resume only that, and merges it at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from zerosearch.core.errors import BadConfig
from zerosearch.core.install import not_installed

FILE = "adapter_model.safetensors"


def attach(model: Any, rank: int, alpha: float, seed: int) -> Any:
    """Put an adapter W + alpha/rank · BA of `rank` on every linear layer except the head; everything else is frozen. B starts at zero.

    Raises BadConfig if peft is not installed.
    """
    config = _config(rank, alpha)
    with _seeded(seed):
        model.add_adapter(config)
    return model


def wrap(model: Any, rank: int, alpha: float, seed: int) -> Any:
    """As `attach`, as a PeftModel, whose `merge_and_unload` gives an ordinary model. Raises BadConfig if peft is not installed."""
    config = _config(rank, alpha)
    from peft import get_peft_model  # pyright: ignore[reportMissingImports]

    with _seeded(seed):
        return get_peft_model(model, config)


def _config(rank: int, alpha: float) -> Any:
    try:
        from peft import LoraConfig  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise BadConfig(not_installed(f"LoRA (rank {rank})", "peft", "tune")) from None
    # peft divides alpha by the rank and accepts any number, although it is typed as an int
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")  # pyright: ignore[reportArgumentType]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def has_adapter(model: Any) -> bool:
    return bool(getattr(model, "_hf_peft_config_loaded", False))


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """In this block, the model is as it was without the adapter."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


def load_adapter(model: Any, folder: Path) -> None:
    """Load the adapter that `save_pretrained` wrote to `folder` into the model's adapter."""
    from peft import set_peft_model_state_dict  # pyright: ignore[reportMissingImports]
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / FILE), adapter_name="default")
