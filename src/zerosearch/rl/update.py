"""One step's learning: groups with advantages → a better policy, in `minibatches` optimiser updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zerosearch.config import RLConfig
from zerosearch.models.causal import token_logprobs
from zerosearch.rl.algorithms import ALGORITHMS, loss_function
from zerosearch.rl.batch import TrainingBatch, make_batch, microbatches, minibatches, trainable, trained_token_count
from zerosearch.rl.losses import kl_k3
from zerosearch.types import Group, Trajectory

Accumulate = Callable[[Sequence[Trajectory], int, bool], "Sums"]


@dataclass(frozen=True, slots=True)
class Sums:
    """What a part of a minibatch adds up over its trained tokens. `mismatch` is the largest |trained - sampled log-prob|."""

    tokens: int = 0
    loss: float = 0.0
    kl: float = 0.0
    entropy: float = 0.0
    mismatch: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.tokens + other.tokens,
            self.loss + other.loss,
            self.kl + other.kl,
            self.entropy + other.entropy,
            max(self.mismatch, other.mismatch),
        )

    def means(self) -> dict[str, float]:
        n = max(self.tokens, 1)
        means = {"loss": self.loss / n, "kl": self.kl / n, "entropy": self.entropy / n}
        return {**means, "logprob_mismatch": self.mismatch, "trained_tokens": self.tokens}


class Learner:
    """The policy that learns, the frozen reference it should not stray from (None: it may), and the optimiser between them."""

    def __init__(self, model: Any, reference: Any | None, config: RLConfig, temperature: float, pad_id: int) -> None:
        self.model, self.reference, self.config, self.temperature, self.pad_id = model, reference, config, temperature, pad_id
        self.loss = loss_function(ALGORITHMS[config.algorithm])
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)

    def update(self, groups: Sequence[Group], step: int, seed: int, accumulate: Accumulate | None = None) -> dict[str, float]:
        """Learn from one step's groups. The loss is the mean over the trained tokens of a minibatch, however it is cut into parts.

        `accumulate` may be a crew's, which shares the work out among processes.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * min(1.0, (step + 1) / max(self.config.warmup_steps, 1))
        sums, norms = Sums(), list[float]()
        usable = trainable(groups)
        for i, minibatch in enumerate(minibatches(usable, self.config.minibatches, seed * 1_000_003 + step)):
            tokens = trained_token_count(minibatch, self.config.mask_observations)
            sums += (accumulate or self.accumulate)(minibatch, tokens, i == 0)
            norms.append(float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)))
            self.optimizer.step()
            self.optimizer.zero_grad()
        used = len(usable) / max(sum(len(g.trajectories) for g in groups), 1)
        return {**sums.means(), "grad_norm": sum(norms) / max(len(norms), 1), "used": used}

    def accumulate(self, trajectories: Sequence[Trajectory], tokens: int, first: bool) -> Sums:
        """Add the gradient of (sum of the loss) / `tokens` to the model's. `first` is True while nothing was learned from this step yet."""
        most = self.config.microbatch_tokens
        if self.model.device.type == "cpu":  # it gains nothing from more than its caches hold: 16,384 take a fifth longer than 4,096
            most = min(most, 4096)
        return sum((self._accumulate(part, tokens, first) for part in microbatches(trajectories, most)), Sums())

    def _accumulate(self, part: Sequence[Trajectory], tokens: int, first: bool) -> Sums:
        batch = make_batch(part, self.pad_id, self.config.mask_observations).to(self.model.device)
        logprobs_M, entropy_M = token_logprobs(self.model, batch.ids_BT, batch.trained_BT, self.temperature)
        old_M, advantages_M, sampled_M = _chosen(batch)
        # a token nobody sampled (masking switched off) has no log-prob from sampling: it starts at ratio 1
        old_M = torch.where(sampled_M, old_M, logprobs_M.detach())
        loss_M, kl = self.loss(logprobs_M, old_M, advantages_M, self.config.clip), 0.0
        if self.reference is not None:
            with torch.no_grad():
                reference_M, _ = token_logprobs(self.reference, batch.ids_BT, batch.trained_BT, self.temperature)
            kl_M = kl_k3(logprobs_M, reference_M)
            loss_M = loss_M + self.config.kl_coefficient * kl_M
            kl = float(kl_M.detach().sum())
        (loss_M.sum() / tokens).backward()
        # before any update the trainer must agree with the sampler: what is left is float noise, or a bug
        mismatch = float((logprobs_M.detach() - old_M).abs().max()) if first and len(old_M) else 0.0
        return Sums(len(old_M), float(loss_M.detach().sum()), kl, float(entropy_M.sum()), mismatch)


def _chosen(batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chosen_BT = batch.trained_BT
    return batch.old_logprobs_BT[chosen_BT], batch.advantages_B[:, None].expand_as(chosen_BT)[chosen_BT], batch.sampled_BT[chosen_BT]
