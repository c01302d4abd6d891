"""The [rl] and [guards] sections of a recipe."""

import math
from typing import Annotated, Literal, Self, cast

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
    """One step is `questions_per_step` × `group_size` rollouts, then `epochs` passes over them in `minibatches` updates each.

    An environment that gives a reward itself goes before the terms of `reward`. With `importance_cap` the old log-probs are the trainer's,
    otherwise the sampler's.
    """

    algorithm: str = "grpo"  # A name, or module:name of your own.
    reward: Annotated[str | dict[str, float], PlainValidator(_weights_or_name)] = "f1"  # A term, a table of weighted terms, or module:name.
    steps: Positive = 200  # Steps of the run.
    questions_per_step: Positive = 64  # Questions of a step.
    group_size: Positive = 5  # Rollouts of each question.
    epochs: Positive = 1  # Passes over the rollouts of a step.
    minibatches: Positive = 1  # Updates per pass.
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6  # Of the policy.
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # Of the learning rate, after the warm-up.
    warmup_steps: Natural = 5  # Steps over which the learning rate rises.
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"  # adamw_8bit keeps its moments in 8 bits.
    clip: Annotated[float, Field(gt=0)] | None = None  # ε below 1; unset: the algorithm's own.
    clip_high: Annotated[float, Field(gt=0)] | None = None  # ε above 1; unset: the algorithm's own.
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.001  # The weight of the KL to the reference.
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"  # How the KL is estimated.
    kl_in: Literal["loss", "reward"] = "loss"  # Whether the KL is a term of the loss, or a cost in the reward.
    reference: Literal["auto", "copy", "lora_off", "none"] = "auto"  # auto: the policy without its adapter, else a frozen copy.
    discount: Rate = 1.0  # γ, where there is a critic.
    gae_lambda: Rate = 1.0  # λ of GAE, where there is a critic.
    critic_coefficient: Annotated[float, Field(ge=0)] = 0.5  # The weight of the critic's loss.
    critic_learning_rate: Annotated[float, Field(gt=0)] | None = None  # Unset: ten times the policy's.
    critic_warmup_steps: Natural = 0  # Steps in which only the critic learns.
    value_clip: Annotated[float, Field(ge=0)] = 0.2  # How far a value may move from the old one; 0 is any.
    importance_cap: Annotated[float, Field(ge=0)] = 0.0  # Above 0: each token counts min(π_trainer / π_sampler, this).
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0  # Gradients are scaled down to this norm.
    microbatch_tokens: Positive = 16384  # Tokens of one pass through the model, padding included.
    gradient_checkpointing: bool = False  # Less memory, more time.
    mask_observations: bool = True  # false: train on documents too, to study masking.
    max_failed_share: Rate = 0.5  # A step with more failed rollouts than this stops the run.

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
    """What is watched while training; a limit of 0 is none. `on_…` says what happens beyond a limit: warn, skip the update, roll the
    weights back to the newest checkpoint, or stop.
    """

    on_nonfinite: Literal["skip", "rollback", "stop"] = "stop"  # What to do about a loss or gradient that is not finite.
    max_kl: Limit = 0.0  # Mean KL per token.
    on_kl: Action = "warn"  # What to do above it.
    min_entropy: Limit = 0.0  # Mean entropy per token.
    on_entropy: Action = "warn"  # What to do below it.
    max_policy_tokens: Limit = 0.0  # Mean tokens that the policy writes per rollout.
    on_length: Action = "warn"  # What to do above it.
    max_mismatch: Limit = 1.0  # Largest |log-prob of trainer - sampler| of a token.
    on_mismatch: Action = "warn"  # What to do above it.
    min_reward_share: Rate = 0.5  # The mean reward of the window, as a share of the best such mean.
    reward_window: Positive = 10  # Steps of that window.
    on_collapse: Action = "warn"  # What to do below that share.
    max_interventions: Natural = 10  # Skips and rollbacks of a run; the next one stops it.
