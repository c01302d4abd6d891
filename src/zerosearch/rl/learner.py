"""The policy that learns: its loss and its optimiser, and nothing of where rollouts come from or who else works on a gradient."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch

from zerosearch.core.errors import BadConfig, called, one_line
from zerosearch.core.types import Trajectory
from zerosearch.models.causal import predictions, token_logprobs, token_states, value_head
from zerosearch.models.gradient_checkpointing import checkpointed
from zerosearch.rl.algorithms import ALGORITHMS, Algorithm, loss_function, weigh
from zerosearch.rl.batch import TrainingBatch, TrainingExample, make_batch, microbatches, minibatches
from zerosearch.rl.losses import KL_ESTIMATORS, value_loss
from zerosearch.rl.optimizers import Trained, make_optimizer, rate_factor
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.training_examples import TokenEstimates

# M trained tokens of a microbatch


@dataclass(frozen=True, slots=True)
class LossContext:
    """How to read the examples of a minibatch. The loss is Σ weight · loss / `denominator`; `first`: nothing was learned from this step
    yet; `critic_only`: the policy, and the trunk it shares with the critic, stay as they are."""

    denominator: float
    first: bool = False
    critic_only: bool = False


@dataclass(frozen=True, slots=True)
class LossTotals:
    """What a part of a minibatch adds up over its trained tokens. `mismatch` is the largest |trained - sampled log-prob|,
    `value_mismatch` that of the critic's values."""

    tokens: int = 0
    loss: float = 0.0
    kl: float = 0.0
    entropy: float = 0.0
    value_loss: float = 0.0
    mismatch: float = 0.0
    value_mismatch: float = 0.0

    def __add__(self, other: Self) -> Self:
        total = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(LossTotals)}
        return type(self)(**{**total, **{name: max(getattr(self, name), getattr(other, name)) for name in ("mismatch", "value_mismatch")}})

    def means(self, denominator: float) -> dict[str, float]:
        """`loss` as the optimiser sees it, the rest a token."""
        n = max(self.tokens, 1)
        means = {"loss": self.loss / (denominator or 1.0), "kl": self.kl / n, "entropy": self.entropy / n}
        return {**means, "logprob_mismatch": self.mismatch, "trained_tokens": self.tokens}


@dataclass(frozen=True, slots=True)
class Minibatch:
    """What one optimiser step learns from."""

    examples: tuple[TrainingExample, ...]
    context: LossContext


def make_reference(model: Any, rl: RLConfig, lora: bool) -> Any | None:
    """What the policy should not stray from: nothing, a frozen copy, or (its adapter switched off) the model itself."""
    if rl.kl_coefficient == 0 or rl.reference == "none":
        return None
    if rl.reference == "lora_off" or (rl.reference == "auto" and lora):
        return model
    return copy.deepcopy(model).eval().requires_grad_(False)


class Learner:
    """The policy that learns, the frozen reference it should not stray from (None: it may), and the optimiser between them.

    Where the algorithm needs values, `critic` is a linear head on the policy's own trunk (a critic of its own would double memory and
    time); `budget` is how many tokens a rollout may have, for Dr. GRPO. `reference` may be `model` itself: then it is what the model is
    without its adapter.
    """

    def __init__(
        self,
        model: Any,
        reference: Any | None,
        config: RLConfig,
        temperature: float,
        pad_id: int,
        critic: Any = None,
        budget: int = 4096,
        algorithm: Algorithm | None = None,
    ) -> None:
        self.model, self.reference, self.config, self.temperature, self.pad_id = model, reference, config, temperature, pad_id
        self.algorithm, self.budget = algorithm or ALGORITHMS[config.algorithm], budget
        self.loss, self.kl = loss_function(self.algorithm), KL_ESTIMATORS[config.kl_estimator]
        self.critic = (critic or value_head(model)) if self.algorithm.needs_critic else None
        critic_parameters = list(self.critic.parameters()) if self.critic else []
        self.trained = Trained([*model.parameters(), *critic_parameters])
        policy = self.trained.tensors[: len(self.trained.pairs) - len(critic_parameters)]
        self.optimizer = make_optimizer(policy, critic_parameters, config, model.device)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    # ---- what a run saves of it, beside the model

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"optimizers": [self.optimizer.state_dict()], "masters": self.trained.masters}
        return {**state, "critic": self.critic.state_dict()} if self.critic else state

    def restore(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizers"][0])
        self.trained.restore(state.get("masters", []))
        if self.critic:
            self.critic.load_state_dict(state["critic"])

    def share_memory(self) -> None:
        """Let other processes work on the same weights."""
        for module in filter(None, (self.model, self.critic)):
            module.share_memory()

    # ---- learning

    def begin_step(self, step: int, examples: int) -> None:
        """Set the learning rate of a step, counted from 0, and start its figures anew."""
        factor = rate_factor(self.config.schedule, step, self.config.steps, self.config.warmup_steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self._totals, self._norms, self._denominators, self._skipped = LossTotals(), list[float](), 0.0, int(not examples)

    def minibatches(self, examples: Sequence[TrainingExample], step: int, seed: int) -> Iterator[Minibatch]:
        """`epochs` times all examples of a step, in `minibatches` random parts, each with the weights of the algorithm's aggregation."""
        rl = self.config
        critic_only = step < rl.critic_warmup_steps and self.critic is not None
        for epoch in range(rl.epochs):
            for i, part in enumerate(minibatches(examples, rl.minibatches, (seed * 1_000_003 + step) + epoch * 2_147_483_647)):
                weights, denominator = weigh(self.algorithm, [len(one.advantages) for one in part], self.budget)
                weighted = tuple(replace(one, weight=w) for one, w in zip(part, weights, strict=True))
                yield Minibatch(weighted, LossContext(denominator, first=i == epoch == 0, critic_only=critic_only))

    def optimizer_step(self, minibatch: Minibatch, totals: LossTotals, allows: Callable[[Mapping[str, float]], bool]) -> None:
        """Clip the gradient that lies on the trained tensors and follow it, unless `allows`, which sees its figures, says no."""
        denominator = minibatch.context.denominator
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained.tensors, self.config.max_grad_norm))
        if allows({**totals.means(denominator), "grad_norm": norm}):
            self.optimizer.step()
            self.trained.publish()
            self._totals, self._denominators = self._totals + totals, self._denominators + denominator
            self._norms.append(norm)
        else:
            self._skipped += 1
        self.optimizer.zero_grad()

    def figures(self) -> dict[str, float]:
        """Of the optimiser steps since `begin_step`."""
        totals = self._totals
        figures = {**totals.means(self._denominators), "grad_norm": sum(self._norms) / max(len(self._norms), 1)}
        critic = {"value_loss": totals.value_loss / max(totals.tokens, 1), "value_mismatch": totals.value_mismatch} if self.critic else {}
        return {**figures, **critic, "skipped_updates": float(self._skipped)}

    @property
    def needs_logprobs(self) -> bool:
        """Whether the log-probs of rollouts are computed anew before anything is learned from them."""
        return self._kl_in_reward or self.config.importance_cap > 0

    @property
    def _kl_in_reward(self) -> bool:
        return self.config.kl_in == "reward" and self.reference is not None

    @torch.no_grad()
    def estimates(self, trajectories: Sequence[Trajectory]) -> list[TokenEstimates]:
        """What policy, reference and critic say of each rollout now, as far as it is asked for, in the order of the rollouts.

        A critic alone needs no vocabulary, which keeps the pass cheap for rollouts that came without values.
        """
        estimates = [TokenEstimates()] * len(trajectories)
        for part in microbatches(trajectories, self._most_tokens):
            batch = make_batch([trajectories[i] for i in part], self.pad_id, self.config.mask_observations).to(self.model.device)
            logprobs_M, reference_M, states_MD = None, None, None
            if self.needs_logprobs:
                found = predictions(self.model, batch.ids_BT, batch.trained_BT, self.temperature, self.critic is not None)
                logprobs_M, states_MD = found.logprobs_M, found.states_MD
                reference_M = self._reference_logprobs(batch) if self._kl_in_reward else None
            elif self.critic is not None:
                states_MD = token_states(self.model, batch.ids_BT, batch.trained_BT)
            values_M = self.critic(states_MD.float())[:, 0] if self.critic and states_MD is not None else None
            counts = batch.trained_BT.sum(1).tolist()
            rows = [_split(x, counts) for x in (logprobs_M, reference_M, values_M)]
            for i, *row in zip(part, *rows, strict=True):
                estimates[i] = TokenEstimates(*row)
        return estimates

    def gradients(self, minibatch: Minibatch) -> LossTotals:
        """Add the gradient of (Σ weight · loss) / denominator to the trained tensors'; returns what was added up."""
        examples = minibatch.examples
        parts = microbatches([one.trajectory for one in examples], self._most_tokens)
        return sum((self._accumulate([examples[i] for i in part], minibatch.context) for part in parts), LossTotals())

    @property
    def _most_tokens(self) -> int:
        most = self.config.microbatch_tokens
        # a CPU gains nothing from more than its caches hold: 16,384 take a fifth longer than 4,096
        return min(most, 4096) if self.model.device.type == "cpu" else most

    def _accumulate(self, part: Sequence[TrainingExample], how: LossContext) -> LossTotals:
        batch = make_batch([one.trajectory for one in part], self.pad_id, self.config.mask_observations).to(self.model.device)
        with torch.set_grad_enabled(not how.critic_only), checkpointed(self.model, self.config.gradient_checkpointing):
            found = predictions(self.model, batch.ids_BT, batch.trained_BT, self.temperature, self.critic is not None)
        logprobs_M = found.logprobs_M
        # a token nobody sampled (masking switched off) has no log-prob from sampling: it starts at ratio 1
        sampled_M = torch.where(batch.sampled_BT[batch.trained_BT], batch.old_logprobs_BT[batch.trained_BT], logprobs_M.detach())
        old_M = self._of(part, "old_logprobs") if part[0].old_logprobs else sampled_M
        rows_M = batch.trained_BT.nonzero()[:, 0]
        weights_M = torch.tensor([one.weight for one in part], device=rows_M.device)[rows_M]
        loss_M, kl = called("loss function", self.loss, logprobs_M, old_M, self._of(part, "advantages"), *self._clip, rows_M), 0.0
        if not isinstance(loss_M, torch.Tensor) or loss_M.shape != logprobs_M.shape or loss_M.requires_grad != logprobs_M.requires_grad:
            given = f"shape {tuple(loss_M.shape)}" if isinstance(loss_M, torch.Tensor) else one_line(repr(loss_M), 80)
            raise BadConfig(
                f"the loss function gave {given} for {len(logprobs_M)} tokens; give a tensor made of logprobs_M, one value per token."
            )
        if part[0].importance:
            loss_M = loss_M * self._of(part, "importance")
        if self.reference is not None and self.config.kl_in == "loss":
            kl_M = self.kl(logprobs_M, self._reference_logprobs(batch))
            loss_M = loss_M + self.config.kl_coefficient * kl_M
            kl = float(kl_M.detach().sum())
        value_loss_sum = value_mismatch = 0.0
        if self.critic is not None and found.states_MD is not None:
            values_M = self.critic(found.states_MD.float())[:, 0]
            before_M = self._of(part, "values")
            critic_M = value_loss(values_M, before_M, self._of(part, "returns"), self.config.value_clip or None)
            loss_M = (0 if how.critic_only else loss_M) + self.config.critic_coefficient * critic_M
            value_loss_sum = float(critic_M.detach().sum())
            value_mismatch = float((values_M.detach() - before_M).abs().max()) if how.first and len(before_M) else 0.0
        weighted_M = loss_M * weights_M
        with checkpointed(self.model, self.config.gradient_checkpointing):  # the layers run again in here
            (weighted_M.sum() / how.denominator).backward()
        # before any update the trainer must agree with the sampler: what is left is float noise, or a bug
        mismatch = float((logprobs_M.detach() - sampled_M).abs().max()) if how.first and len(sampled_M) else 0.0
        entropy = float(found.entropy_M.sum())
        return LossTotals(len(old_M), float(weighted_M.detach().sum()), kl, entropy, value_loss_sum, mismatch, value_mismatch)

    @property
    def _clip(self) -> tuple[float, float | None]:
        own, rl = self.algorithm, self.config
        return rl.clip or own.clip, rl.clip_high or own.clip_high

    def _reference_logprobs(self, batch: TrainingBatch) -> torch.Tensor:
        from zerosearch.models.lora import without_adapter

        with torch.no_grad():
            if self.reference is self.model:
                with without_adapter(self.model):
                    return token_logprobs(self.model, batch.ids_BT, batch.trained_BT, self.temperature)[0]
            return token_logprobs(self.reference, batch.ids_BT, batch.trained_BT, self.temperature)[0]

    def _of(self, part: Sequence[TrainingExample], name: str) -> torch.Tensor:
        """One number a trained token, in the order in which a mask picks tokens: row by row."""
        return torch.tensor([x for one in part for x in getattr(one, name)], device=self.model.device)


def _split(values_M: torch.Tensor | None, counts: Sequence[int]) -> list[tuple[float, ...]]:
    if values_M is None:
        return [()] * len(counts)
    return [tuple(part.tolist()) for part in values_M.split(list(counts))]
