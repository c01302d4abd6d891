"""A recipe: everything a run depends on, frozen and validated. TOML in, `key=value` on top, TOML out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, model_validator

from zerosearch.curriculum import SCHEDULES, NoiseCurriculum
from zerosearch.engine_config import EngineConfig, Name, Natural, Positive, Rate, Section
from zerosearch.errors import BadConfig, BadFile, one_of
from zerosearch.prompts import policy_prompt, simulator_prompt


class PolicyConfig(Section):
    """`model` is a folder, or a Hugging Face hub id."""

    model: Name
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"


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
    schedule: str = "paper"
    start: Rate = 0.0
    end: Rate = 0.5
    base: Annotated[float, Field(gt=0)] = 4.0


class RLConfig(Section):
    """One step is `questions_per_step` × `group_size` rollouts, then one pass over them in `minibatches` updates.

    A step in which more than `max_failed_share` of the rollouts failed (a dead engine, not a bad policy) stops the run.
    """

    algorithm: str = "grpo"
    reward: Literal["f1", "em", "cover_em"] = "f1"
    steps: Positive = 200
    questions_per_step: Positive = 64
    group_size: Positive = 5
    minibatches: Positive = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    warmup_steps: Natural = 5
    clip: Annotated[float, Field(gt=0)] = 0.2
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.001
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    microbatch_tokens: Positive = 16384
    mask_observations: bool = True
    max_failed_share: Rate = 0.5

    @model_validator(mode="after")
    def _groups_compare(self) -> RLConfig:
        if self.algorithm == "grpo" and self.group_size < 2:
            raise ValueError(f"group_size = {self.group_size} leaves GRPO nothing to compare; choose at least 2")
        return self


class RunConfig(Section):
    """`workers` is how many processes share the rollouts and the gradient; 0 is one a core on a CPU (at most 4), one on a GPU.

    A killed run loses what came after its last checkpoint: at most one step by default. A checkpoint holds the model and two moments
    of the optimiser; with billions of parameters writing it takes minutes, so set `checkpoint_every` higher there.
    """

    out: Name = "runs/run"
    seed: Natural = 0
    checkpoint_every: Positive = 1
    keep_checkpoints: Positive = 2
    evaluate_every: Natural = 0
    evaluate_questions: Positive = 200
    save_trajectories_every: Positive = 1
    workers: Natural = 0


class Recipe(Section):
    policy: PolicyConfig
    questions: QuestionsConfig
    engine: EngineConfig
    evaluation_engine: EngineConfig | None = None
    rollout: RolloutConfig = RolloutConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    rl: RLConfig = RLConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> Recipe:
        from zerosearch.rl.algorithms import ALGORITHMS

        one_of("algorithm", self.rl.algorithm, ALGORITHMS)
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

    def noise_curriculum(self) -> NoiseCurriculum:
        c = self.curriculum
        return NoiseCurriculum(c.schedule, c.start, c.end, self.rl.steps, c.base)


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


def _apply(table: dict[str, Any], override: str) -> None:
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
    return repr(value)
