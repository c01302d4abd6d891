"""What turns gradients into better weights: the optimiser, its learning rate over a run, and float32 masters of bfloat16 weights."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from zerosearch.core.errors import BadConfig
from zerosearch.rl.settings import RLConfig


def constant(progress: float) -> float:
    return 1.0


def linear(progress: float) -> float:
    """Down to zero in a straight line."""
    return 1 - progress


def cosine(progress: float) -> float:
    """½ (1 + cos πx): down to zero, flat at both ends. SGDR (arXiv 1608.03983), equation 5, one period."""
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "linear": linear, "cosine": cosine}


def rate_factor(schedule: str, step: int, steps: int, warmup: int) -> float:
    """What the learning rate is multiplied by at a step, counted from 0: up in a line over `warmup` steps, then along the schedule."""
    rising = min(1.0, (step + 1) / max(warmup, 1))
    return rising * SCHEDULES[schedule](min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0))


class Trained:
    """The tensors an optimiser moves: parameters in float32 themselves, and for each in a shorter float a float32 master.

    An update of 1e-6 is lost in a bfloat16 weight, which has 8 bits of precision, so it is added to the master and the weight is read
    off it. The gradient of a master is summed in float32, however many parts the batch is cut into; the weight keeps none.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        self.pairs = [(p, p if p.dtype == torch.float32 else p.detach().float().requires_grad_()) for p in parameters if p.requires_grad]
        for p, master in self.pairs:
            if master is not p:
                p.register_post_accumulate_grad_hook(_to(master))

    @property
    def tensors(self) -> list[torch.Tensor]:
        return [master for _, master in self.pairs]

    @property
    def masters(self) -> list[torch.Tensor]:
        return [master for p, master in self.pairs if master is not p]

    @torch.no_grad()
    def publish(self) -> None:
        """Masters → weights, after a step of the optimiser."""
        for p, master in self.pairs:
            if master is not p:
                p.copy_(master)

    @torch.no_grad()
    def restore(self, masters: Iterable[torch.Tensor]) -> None:
        for master, saved in zip(self.masters, masters, strict=True):
            master.copy_(saved)

    def zero_grad(self) -> None:
        for tensor in self.tensors:
            tensor.grad = None


def _to(master: torch.Tensor) -> Callable[[torch.Tensor], None]:
    def move(p: torch.Tensor) -> None:
        assert p.grad is not None
        gradient, p.grad = p.grad.to(master.dtype), None
        master.grad = gradient if master.grad is None else master.grad + gradient

    return move


def make_optimizer(
    policy: Sequence[torch.Tensor], critic: Sequence[torch.Tensor], rl: RLConfig, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, or its 8-bit form, over the policy and, at a rate of its own, the critic. Raises BadConfig when 8 bits cannot be had."""
    groups: list[dict[str, Any]] = [{"params": list(policy), "lr": rl.learning_rate}]
    if critic:
        groups.append({"params": list(critic), "lr": rl.critic_learning_rate or 10 * rl.learning_rate})
    make = _adamw_8bit(device) if rl.optimizer == "adamw_8bit" else torch.optim.AdamW
    return make(groups, lr=rl.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)


def _adamw_8bit(device: torch.device) -> Callable[..., Any]:
    if device.type != "cuda":
        raise BadConfig(f"rl.optimizer = 'adamw_8bit' needs a CUDA GPU, the policy is on '{device}'; choose rl.optimizer=adamw.")
    try:
        from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise BadConfig(
            "rl.optimizer = 'adamw_8bit' needs bitsandbytes, which is missing; pip install bitsandbytes, or choose rl.optimizer=adamw."
        ) from None
    return AdamW8bit
