"""A recipe: everything a run depends on, frozen and validated. TOML in, `key=value` on top, TOML out."""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

import tomli_w
from pydantic import Field, ValidationError, model_validator

from zerosearch.core.curriculum import SCHEDULES, NoiseCurriculum
from zerosearch.core.errors import BadConfig, BadFile, one_of
from zerosearch.core.registry import name_of
from zerosearch.core.settings import Name, Natural, Positive, Rate, Section
from zerosearch.engines.prompts import simulator_prompt
from zerosearch.engines.settings import EngineConfig
from zerosearch.rl.settings import GuardsConfig, RLConfig
from zerosearch.rollout.prompts import policy_prompt
from zerosearch.runs.directory import RunDirectory
from zerosearch.runs.settings import RunConfig

SectionT = TypeVar("SectionT", bound=Section)


class PolicyConfig(Section):
    """What learns."""

    model: Name  # A folder or a Hugging Face hub id.
    dtype: Literal["float32", "bfloat16"] = "float32"  # In bfloat16 the optimiser works on float32 copies of what learns.
    device: str = "auto"  # auto, cpu, cuda or mps; auto takes the fastest that there is.
    lora_rank: Natural = 0  # Above 0, an adapter of this rank learns instead of the model.
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0  # The adapter is scaled by this number / rank.


class QuestionsConfig(Section):
    """What is asked while training, and in evaluations."""

    train: Name  # A file: JSONL or JSONL.gz with id, question, golden_answers.
    held_out: str = ""  # A file of the same kind, to evaluate on.
    held_out_limit: Natural = 200  # The first so many of them are asked; 0 is all.


class RolloutConfig(Section):
    """How the policy answers one question. The budgets count tokens of the policy's tokenizer."""

    prompt: str = "search"  # The policy's prompt: a built-in name, or a text file with {question}.
    environment: Name = "search"  # search, or module:name of your own.
    renderer: Name = "template"  # template (the model's own chat template), or module:name of your own.
    max_turns: Positive = 4  # Turns of the policy, the answering one included.
    max_turn_tokens: Positive = 500  # Tokens of one turn.
    max_observation_tokens: Positive = 1000  # Tokens of one observation.
    max_tokens: Positive = 4096  # Tokens of a whole rollout.
    temperature: Annotated[float, Field(ge=0)] = 1.0  # Of sampling; 0 is greedy.
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0  # Only the likeliest tokens, with this probability together, are drawn.


class CurriculumConfig(Section):
    """The share of noisy replies at each step. A schedule of your own is a function `(step, rewards) -> noise rate`."""

    schedule: str = "paper"  # paper, linear, reverse, constant, random, adaptive, or module:name of your own.
    start: Rate = 0.0  # The noise rate of the first step.
    end: Rate = 0.5  # The noise rate of the last step.
    base: Annotated[float, Field(gt=0)] = 4.0  # The paper's b.
    target: Rate = 0.5  # Of the adaptive schedule: the mean reward that it holds.
    gain: Annotated[float, Field(gt=0)] = 0.1  # Of the adaptive schedule: how fast it reacts.


class ClusterConfig(Section):
    """Where verl trains: `nodes` × `gpus_per_node` GPUs, shared by the trainer and the server that samples."""

    nodes: Positive = 1  # Machines.
    gpus_per_node: Positive = 8  # GPUs of each.
    strategy: Literal["fsdp", "fsdp2", "megatron"] = "fsdp2"  # What trains.
    server: Literal["vllm", "sglang"] = "vllm"  # What samples.
    tensor_parallel: Positive = 1  # GPUs per copy of the sampling server.
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] = 0.6  # The sampling server's share of each GPU.
    offload: bool = False  # Move weights and moments to the hosts' memory between the phases.
    agent_workers: Positive = 8  # Processes that roll out.
    verl: dict[str, Any] = Field(
        default_factory=dict[str, Any]
    )  # Settings of verl's own, for instance cluster.verl.trainer.project_name=mine.

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
    def _names_exist(self) -> Self:
        if ":" not in self.curriculum.schedule:  # else it is a function of the user's
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
    def _fits_together(self) -> Self:
        if self.rl.reference == "lora_off" and not self.policy.lora_rank:
            raise BadConfig("rl.reference = 'lora_off', but policy.lora_rank = 0; choose a rank, or rl.reference=copy.")
        return self

    def noise_curriculum(self) -> NoiseCurriculum:
        """Raises BadConfig when the schedule is a function of the user's."""
        c = self.curriculum
        return NoiseCurriculum(c.schedule, c.start, c.end, self.rl.steps, c.base, c.target, c.gain, self.run.seed)


def built_in_recipes() -> dict[str, str]:
    """The recipes and scheduler examples that come with the package: name → text. A recipe's name is its file's, without `.toml`."""
    folder = files("zerosearch") / "recipes"
    found = [entry for place in (folder, folder / "cluster") for entry in place.iterdir() if entry.is_file()]
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in sorted(found, key=lambda entry: entry.name)}


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, a TOML file or a built-in name, and put `section.key=value` overrides on top. Raises BadFile or BadConfig."""
    table = read_table(path)
    for override in overrides:
        _apply(table, override)
    return make_recipe(table)


def read_table(path: str | Path) -> dict[str, Any]:
    """A recipe as it is written, not validated yet: a file, else the built-in recipe of that name. Raises BadFile."""
    try:
        built_in = {} if Path(path).is_file() else built_in_recipes()
        return tomllib.loads(built_in[str(path)] if str(path) in built_in else Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        near = get_close_matches(Path(path).name.removesuffix(".toml"), built_in_recipes(), n=1)
        hint = (
            f"did you mean '{near[0]}', which comes with the package?"
            if near
            else "give a TOML file, or a name that `zerosearch recipes` lists."
        )
        raise BadFile(f"cannot read the recipe '{path}' ({error.strerror}); {hint}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"the recipe '{path}' is not valid TOML: {error}.") from error


def _validated(kind: type[SectionT], table: Mapping[str, Any], section: str = "") -> SectionT:
    try:
        return kind.model_validate(dict(table))
    except ValidationError as error:
        raise BadConfig(_explain(error, section)) from error


def make_recipe(table: Mapping[str, Any]) -> Recipe:
    """A whole recipe. Raises BadConfig."""
    return _validated(Recipe, table)


def engine_table(given: Any) -> dict[str, Any]:
    """A recipe's [engine] section for what was given: a section as it is, an address of a simulator, a name, or an object by its name."""
    if isinstance(given, Mapping):
        return dict(cast(Mapping[str, Any], given))
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        return {"kind": "simulated", "url": given}
    return {"kind": name_of(given)}


def make_engine(table: Mapping[str, Any]) -> EngineConfig:
    """An engine by itself, as a recipe's [engine] section says it. Raises BadConfig."""
    return _validated(EngineConfig, table, "engine")


def make_rollout(table: Mapping[str, Any]) -> RolloutConfig:
    """The [rollout] section by itself. Raises BadConfig."""
    return _validated(RolloutConfig, table, "rollout")


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
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))


def open_run(path: str | Path) -> tuple[RunDirectory, Recipe]:
    """An existing run and its recipe. Raises BadFile when the folder holds no run."""
    run = RunDirectory.open(path)
    recipe = load_recipe(run.config)
    moved = recipe.run.model_copy(update={"out": str(path)})  # the folder may have been renamed since
    return run, recipe.model_copy(update={"run": moved})


def require_same(run: RunDirectory, recipe: Recipe) -> None:
    """Raises BadConfig when the run was started with another recipe; the directory itself may have been renamed since."""
    kept: dict[str, Any] = load_recipe(run.config).model_dump()
    wanted: dict[str, Any] = recipe.model_dump()
    for section, values in wanted.items():
        old, new = cast(dict[str, Any], kept[section] or {}), cast(dict[str, Any], values or {})
        for key in {**old, **new}:
            before, now = old.get(key), new.get(key)
            if before != now and (section, key) != ("run", "out"):
                raise BadConfig(
                    f"{section}.{key} = {now!r}, but the run in '{run.path}' was started with {before!r}; "
                    "resume it unchanged, or start a new run in another directory."
                )
