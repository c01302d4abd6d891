"""The [rl] and [guards] sections of a recipe."""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast

from pydantic import Field, PlainValidator, model_validator

from zerosearch.core.registry import FROM_PYTHON, resolve
from zerosearch.core.rewards import reward_weights
from zerosearch.core.settings import Natural, Positive, Rate, Section
from zerosearch.rl.algorithms import ALGORITHMS, Algorithm


def _weights_or_name(value: object) -> object:
    """A term's name, a table of weights by term, or a function's module:name. Raises BadConfig for a term nobody knows."""
    table = cast(dict[str, object], value) if isinstance(value, dict) else {}
    if isinstance(value, str):
        if ":" not in value:  # else it is a function of the user's
            reward_weights(value)
    elif table and all(type(w) in (int, float) and math.isfinite(cast(float, w)) for w in table.values()):
        reward_weights(cast(dict[str, float], table))
    else:
        raise ValueError(f"input should be a term's name or a table of weights such as {{f1 = 1.0, format = 0.1}}, received {value!r:.80}")
    return cast(object, value)


class RLConfig(Section):
    """`algorithm` and `reward` are names, or module:name of your own (`reward`: also a table of weighted terms; an environment that gives a
    reward itself goes before terms). One step is `questions_per_step` × `group_size` rollouts, then `epochs` passes over them in
    `minibatches` updates each.

    A step in which more than `max_failed_share` of the rollouts failed (a dead engine, not a bad policy) stops the run.
    `clip`, `clip_high`: unset, the algorithm's own. `kl_in`: a term of the loss, or a cost in the reward. `reference`: auto is the policy
    without its adapter, or a frozen copy. `discount`, `gae_lambda`, `value_clip` (0: none) and `critic_*` are for algorithms with a critic;
    its rate, unset, is ten times the policy's. `importance_cap` > 0: old log-probs are the trainer's, each token counts min(π_trainer /
    π_sampler, cap).
    """

    algorithm: str = "grpo"
    reward: Annotated[str | dict[str, float], PlainValidator(_weights_or_name)] = "f1"
    steps: Positive = 200
    questions_per_step: Positive = 64
    group_size: Positive = 5
    epochs: Positive = 1
    minibatches: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: Natural = 5
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    clip: Annotated[float, Field(gt=0)] | None = None
    clip_high: Annotated[float, Field(gt=0)] | None = None
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.001
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_in: Literal["loss", "reward"] = "loss"
    reference: Literal["auto", "copy", "lora_off", "none"] = "auto"
    discount: Rate = 1.0
    gae_lambda: Rate = 1.0
    critic_coefficient: Annotated[float, Field(ge=0)] = 0.5
    critic_learning_rate: Annotated[float, Field(gt=0)] | None = None
    critic_warmup_steps: Natural = 0
    value_clip: Annotated[float, Field(ge=0)] = 0.2
    importance_cap: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    microbatch_tokens: Positive = 16384
    gradient_checkpointing: bool = False
    mask_observations: bool = True
    max_failed_share: Rate = 0.5

    @model_validator(mode="after")
    def _fits_together(self) -> RLConfig:
        if not self.algorithm.startswith(FROM_PYTHON):
            require_fit(self, resolve("algorithm", self.algorithm, ALGORITHMS))
        if self.critic_warmup_steps >= self.steps:
            raise ValueError(f"critic_warmup_steps = {self.critic_warmup_steps} of {self.steps} steps leave the policy none; choose fewer")
        if self.reference == "none" and self.kl_coefficient > 0:
            raise ValueError(f"kl_coefficient = {self.kl_coefficient} needs a reference; choose kl_coefficient = 0, or reference = 'auto'")
        return self


def require_fit(rl: RLConfig, algorithm: Algorithm) -> None:
    """Raises ValueError where the settings ask of an algorithm what it cannot do."""
    name = rl.algorithm.upper()
    if not isinstance(algorithm, Algorithm):
        raise ValueError(f"algorithm = {algorithm!r:.80} is not an Algorithm; see zerosearch.Algorithm")
    if rl.group_size < algorithm.smallest_group:
        raise ValueError(f"group_size = {rl.group_size} leaves {name} nothing to compare; choose at least {algorithm.smallest_group}")
    if rl.epochs > 1 and not algorithm.reusable:
        raise ValueError(f"epochs = {rl.epochs}, but the loss of {name} does not correct for a policy that has moved; choose 1, or GRPO")
    if algorithm.needs_critic and rl.critic_coefficient == 0:
        raise ValueError(f"critic_coefficient = 0 leaves {name} without a critic; choose more than 0, or an algorithm that needs none")
    if rl.critic_warmup_steps and not algorithm.needs_critic:
        raise ValueError(f"critic_warmup_steps = {rl.critic_warmup_steps}, but {name} has no critic to warm up; choose 0, or PPO")


Action = Literal["warn", "skip", "rollback", "stop"]
Limit = Annotated[float, Field(ge=0)]


class GuardsConfig(Section):
    """What is watched while training; a limit of 0 is none. `on_…` says what happens beyond it: warn, skip the update, roll the weights
    back to the newest checkpoint, or stop. After `max_interventions` skips and rollbacks of a run the next one stops it.

    Limits: mean KL a token; mean entropy a token (below); mean tokens a rollout that the policy writes; the largest |log-prob of trainer -
    sampler|; and reward: the mean of the last `reward_window` steps may not fall below `min_reward_share` of the best such mean.
    """

    on_nonfinite: Literal["skip", "rollback", "stop"] = "stop"
    max_kl: Limit = 0.0
    on_kl: Action = "warn"
    min_entropy: Limit = 0.0
    on_entropy: Action = "warn"
    max_policy_tokens: Limit = 0.0
    on_length: Action = "warn"
    max_mismatch: Limit = 1.0
    on_mismatch: Action = "warn"
    min_reward_share: Rate = 0.5
    reward_window: Positive = 10
    on_collapse: Action = "warn"
    max_interventions: Natural = 10
