"""A recipe: everything a run depends on, frozen and validated. TOML in, `key=value` on top, TOML out."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, PlainValidator, ValidationError, model_validator

from zerosearch.core.curriculum import SCHEDULES, NoiseCurriculum
from zerosearch.core.errors import BadConfig, BadFile, one_of
from zerosearch.core.rewards import reward_weights
from zerosearch.engines.settings import EngineConfig, Name, Natural, Positive, Rate, Section
from zerosearch.rl.algorithms import ALGORITHMS
from zerosearch.rollout.prompts import policy_prompt, simulator_prompt


class PolicyConfig(Section):
    """`model` is a folder, or a Hugging Face hub id. `lora_rank` > 0: an adapter of that rank learns, scaled by `lora_alpha` / rank.

    In bfloat16 the optimiser works on float32 masters of what learns.
    """

    model: Name
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    lora_rank: Natural = 0
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0


class QuestionsConfig(Section):
    """Question files: JSONL or JSONL.gz with id, question, golden_answers. `held_out` is evaluated on while training."""

    train: Name
    held_out: str = ""
    held_out_limit: Natural = 200


class RolloutConfig(Section):
    """See `rollout.RolloutSettings` for what each budget means."""

    prompt: str = "search"
    max_turns: Positive = 4
    max_turn_tokens: Positive = 500
    max_observation_tokens: Positive = 1000
    max_tokens: Positive = 4096
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class CurriculumConfig(Section):
    """`base` is the paper's b; `target` (a mean reward) and `gain` are for the adaptive schedule."""

    schedule: str = "paper"
    start: Rate = 0.0
    end: Rate = 0.5
    base: Annotated[float, Field(gt=0)] = 4.0
    target: Rate = 0.5
    gain: Annotated[float, Field(gt=0)] = 0.1


def _weights_or_name(value: object) -> object:
    """A term's name, or a table of weights by term. Raises BadConfig for a term nobody knows."""
    table = cast(dict[str, object], value) if isinstance(value, dict) else {}
    if isinstance(value, str):
        reward_weights(value)
    elif table and all(type(w) in (int, float) and math.isfinite(cast(float, w)) for w in table.values()):
        reward_weights(cast(dict[str, float], table))
    else:
        raise ValueError(f"input should be a term's name or a table of weights such as {{f1 = 1.0, format = 0.1}}, received {value!r:.80}")
    return cast(object, value)


class RLConfig(Section):
    """One step is `questions_per_step` × `group_size` rollouts, then `epochs` passes over them in `minibatches` updates each.

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

    @property
    def reward_weights(self) -> dict[str, float]:
        return reward_weights(self.reward)

    @model_validator(mode="after")
    def _fits_together(self) -> RLConfig:
        one_of("algorithm", self.algorithm, ALGORITHMS)
        algorithm, name = ALGORITHMS[self.algorithm], self.algorithm.upper()
        if self.group_size < algorithm.smallest_group:
            raise ValueError(f"group_size = {self.group_size} leaves {name} nothing to compare; choose at least {algorithm.smallest_group}")
        if self.epochs > 1 and not algorithm.reusable:
            raise ValueError(
                f"epochs = {self.epochs}, but the loss of {name} does not correct for a policy that has moved; choose 1, or GRPO"
            )
        if algorithm.needs_critic and self.critic_coefficient == 0:
            raise ValueError(f"critic_coefficient = 0 leaves {name} without a critic; choose more than 0, or an algorithm that needs none")
        if self.critic_warmup_steps and not algorithm.needs_critic:
            raise ValueError(f"critic_warmup_steps = {self.critic_warmup_steps}, but {name} has no critic to warm up; choose 0, or PPO")
        if self.critic_warmup_steps >= self.steps:
            raise ValueError(f"critic_warmup_steps = {self.critic_warmup_steps} of {self.steps} steps leave the policy none; choose fewer")
        if self.reference == "none" and self.kl_coefficient > 0:
            raise ValueError(f"kl_coefficient = {self.kl_coefficient} needs a reference; choose kl_coefficient = 0, or reference = 'auto'")
        return self


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


TRACKER_NAMES = ("tensorboard", "wandb", "trackio")


class RunConfig(Section):
    """`workers` is how many processes share the rollouts and the gradient; 0 is one a core on a CPU (at most 4), one on a GPU.

    A killed run loses what came after its last checkpoint: at most one step by default. A checkpoint holds the model and two moments
    of the optimiser; with billions of parameters writing it takes minutes, so set `checkpoint_every` higher there. `trackers`: who
    gets the metrics beside the run directory, names with commas between (tracking.py).
    `trainer`: this process, or verl on a cluster; `engine=verl` on the command line says the same.
    """

    out: Name = "runs/run"
    seed: Natural = 0
    checkpoint_every: Positive = 1
    keep_checkpoints: Positive = 2
    evaluate_every: Natural = 0
    evaluate_questions: Positive = 200
    save_trajectories_every: Positive = 1
    workers: Natural = 0
    trainer: Literal["embedded", "verl"] = "embedded"
    trackers: str = ""

    @property
    def tracker_names(self) -> tuple[str, ...]:
        return tuple(filter(None, (name.strip() for name in self.trackers.split(","))))

    @model_validator(mode="after")
    def _trackers_exist(self) -> RunConfig:
        for name in self.tracker_names:
            one_of("tracker", name, TRACKER_NAMES)
        return self


class ClusterConfig(Section):
    """Where verl trains: `nodes` × `gpus_per_node` GPUs, shared by the trainer and `server` (what samples, `tensor_parallel` GPUs a copy).

    `gpu_memory_utilization` is the server's share of each GPU; `offload` moves weights and moments to the hosts' memory in between.
    `agent_workers` are the processes that roll out. `verl` holds settings of verl's own, put on top of what the recipe comes to:
    cluster.verl.trainer.project_name=mine.
    """

    nodes: Positive = 1
    gpus_per_node: Positive = 8
    strategy: Literal["fsdp", "fsdp2", "megatron"] = "fsdp2"
    server: Literal["vllm", "sglang"] = "vllm"
    tensor_parallel: Positive = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] = 0.6
    offload: bool = False
    agent_workers: Positive = 8
    verl: dict[str, Any] = Field(default_factory=dict[str, Any])

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


class Recipe(Section):
    policy: PolicyConfig
    questions: QuestionsConfig
    engine: EngineConfig
    evaluation_engine: EngineConfig | None = None
    rollout: RolloutConfig = RolloutConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    rl: RLConfig = RLConfig()
    guards: GuardsConfig = GuardsConfig()
    run: RunConfig = RunConfig()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> Recipe:
        one_of("curriculum", self.curriculum.schedule, SCHEDULES)
        policy_prompt(self.rollout.prompt)
        for engine in filter(None, (self.engine, self.evaluation_engine)):
            simulator_prompt(engine.template)
        if (self.engine.max_searches or self.engine.max_usd) and not self.engine.record and self.run.workers != 1:
            raise BadConfig(
                "engine.max_searches and engine.max_usd would count in each worker by itself; "
                "add engine.record=FILE, beside which they count together, or run.workers=1."
            )
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.rl.reference == "lora_off" and not self.policy.lora_rank:
            raise BadConfig("rl.reference = 'lora_off', but policy.lora_rank = 0; choose a rank, or rl.reference=copy.")
        return self

    def noise_curriculum(self) -> NoiseCurriculum:
        c = self.curriculum
        return NoiseCurriculum(c.schedule, c.start, c.end, self.rl.steps, c.base, c.target, c.gain, self.run.seed)


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a TOML recipe and put `section.key=value` overrides on top. Raises BadFile or BadConfig, each one helpful line."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"cannot read the recipe '{path}' ({error.strerror}); `zerosearch train RECIPE.toml` takes a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"the recipe '{path}' is no valid TOML: {error}.") from error
    for override in overrides:
        _apply(table, override)
    return make_recipe(table)


def make_recipe(table: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise BadConfig(_explain(error)) from error


def make_engine(table: Mapping[str, Any]) -> EngineConfig:
    """An engine by itself, as a recipe's [engine] section says it. Raises BadConfig."""
    try:
        return EngineConfig.model_validate(dict(table))
    except ValidationError as error:
        raise BadConfig(_explain(error, "engine")) from error


# whole overrides that say something shorter; `engine` is a section, so `engine=verl` could mean nothing else
_SHORT = {"engine=verl": "run.trainer=verl", "engine=embedded": "run.trainer=embedded"}


def _apply(table: dict[str, Any], override: str) -> None:
    override = _SHORT.get(override, override)
    name, equals, text = override.partition("=")
    key, text = name.strip(), text.strip()
    *sections, last = path = key.split(".")
    if not equals or not all(path):
        raise BadConfig(f"cannot read the override '{override}'; write section.key=value, for instance rl.steps=100.")
    here = table
    for section in sections:
        inner: Any = here.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BadConfig(f"cannot set '{key}': '{section}' is a value, not a section.")
        here = cast(dict[str, Any], inner)
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    # a bare word is a string, so that paths need no quotes in a shell; where text is wanted, so are 2024 and true
    here[last] = text if _types().get(key) is str and not isinstance(value, str) else value


def _explain(error: ValidationError, section: str = "") -> str:
    """The first thing that is wrong, in one line that says what to do. A mistyped key goes first: it makes another one missing."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    key = ".".join(map(str, ([section] if section else []) + list(found["loc"])))
    example = next((k for k in _types() if k.startswith(f"{key}.")), key)
    if found["type"] == "extra_forbidden":
        return _unknown_key(key)
    if found["type"] == "missing":
        return f"the recipe lacks '{key}'; add it to the file, or give {example}=… on the command line."
    received = "a section" if isinstance(found["input"], dict) else f"{found['input']!r:.80}"
    if example != key and found["type"] != "value_error":
        return f"recipe key '{key}' is a section; set a key in it, for instance {example}=…; received {received}."
    message = found["msg"].removeprefix("Value error, ").rstrip(".")
    suffix = "" if found["type"] == "value_error" else f"; received {received}"  # our own messages hold what was received
    return f"recipe key '{key}': {message[:1].lower() + message[1:]}{suffix}."


def _unknown_key(key: str) -> str:
    """The same name in another section, or the nearest name, or what there is to choose from."""
    section, _, name = key.rpartition(".")
    siblings = [k for k in _types() if k.startswith(f"{section}.")] if section else list(Recipe.model_fields)
    near = [k for k in _types() if k.endswith(f".{name}")]
    near = near or [f"{section}.{n}".lstrip(".") for n in get_close_matches(name, [k.rpartition(".")[2] for k in siblings], n=1)]
    names = " or ".join(f"'{k}'" for k in near)
    return f"unknown recipe key '{key}'; " + (f"did you mean {names}?" if near else f"choose one of: {', '.join(siblings)}.")


@cache
def _types() -> dict[str, Any]:
    """Every `section.key` with the type of its value."""
    types: dict[str, Any] = {}
    for name, field in Recipe.model_fields.items():
        section = EngineConfig if name == "evaluation_engine" else field.annotation
        assert isinstance(section, type) and issubclass(section, Section)
        types |= {f"{name}.{key}": inner.annotation for key, inner in section.model_fields.items()}
    return types


def to_toml(recipe: Recipe) -> str:
    """The complete recipe as TOML, defaults included; `load_recipe` of it gives the same recipe."""
    lines: list[str] = []
    for section, values in recipe.model_dump(exclude_none=True).items():
        lines += [f"[{section}]", *(f"{key} = {_toml_value(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\' or ord(c) == 127 else c for c in value)
        return f'"{escaped}"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_value(k)} = {_toml_value(v)}" for k, v in cast(dict[str, object], value).items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, cast(list[object], value))) + "]"
    return repr(value)
