"""What an evaluation works with, from what was asked for: a policy from anywhere, an engine from anywhere, an agent with its prompt."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from zerosearch.config.build import Device, load_engine, load_policy, make_environment, rollout_settings
from zerosearch.config.recipe import PolicyConfig, Recipe, RolloutConfig, engine_table, load_recipe, make_engine, make_rollout
from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.function_engine import as_engine
from zerosearch.core.interfaces import Environment, Policy, Renderer, SearchEngine
from zerosearch.core.registry import name_of, resolve
from zerosearch.core.types import Episode
from zerosearch.engines.registry import deciding
from zerosearch.engines.settings import EngineConfig
from zerosearch.evaluation.context import EvaluationContext
from zerosearch.models.local import LocalModel, load_tokenizer
from zerosearch.models.sampler import Arbiter
from zerosearch.net.chat import PATHS
from zerosearch.net.function_policy import FunctionPolicy
from zerosearch.net.remote_policy import RemotePolicy
from zerosearch.net.remote_token_policy import DIALECTS, RemoteTokenPolicy
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rollout.agents import AGENTS, Agent
from zerosearch.rollout.prompts import POLICY_PROMPTS, PolicyPrompt, distil_prompt, policy_prompt
from zerosearch.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What a caller asked for. `policy` is a folder, a run directory, a hub id, an endpoint's URL, a Policy, or a function text -> text.

    `engine` is a recipe's [engine] section, an engine or a function; None: what the policy's run was evaluated with. `agent` is a name, or
    an Agent; an `environment` goes before both. `rollout` is a recipe's [rollout] section. Empty texts and None: the default of the
    agent or of the policy's run.
    """

    policy: Any
    agent: Any = "zerosearch"
    engine: Any = None
    policy_style: str = "chat"
    policy_model: str = ""
    policy_tokenizer: str = ""
    prompt: str = ""
    distil_prompt: str = ""
    max_turns: int | None = None
    temperature: float = 0.0
    seed: int = 0
    noise_rate: float = 0.0
    k: int | None = None
    environment: Any = None
    renderer: Any = None
    rollout: Mapping[str, Any] = field(default_factory=dict[str, Any])


def is_url(policy: str) -> bool:
    return policy.startswith(("http://", "https://"))


def recipe_of_policy(policy: str) -> tuple[str, Recipe] | None:
    """The checkpoint that a name stands for, and the recipe it was trained with; None where nothing is known of it.

    A run directory stands for its newest checkpoint; a checkpoint, or the model a run began with, belongs to the run it lies in.
    """
    if is_url(policy):
        return None
    folder = Path(policy)
    if RunDirectory(folder).config.exists():
        checkpoints = finished_checkpoints(RunDirectory(folder))
        if not checkpoints:
            raise BadConfig(f"the run in '{policy}' has no checkpoint yet; let it finish a step: zerosearch train --resume {policy}")
        return str(checkpoints[-1]), load_recipe(folder / "config.toml")
    for parent in (folder.parent, folder.parent.parent) if folder.is_dir() else ():
        if (parent / "config.toml").exists():
            recipe = load_recipe(parent / "config.toml")
            begun_with = Path(recipe.policy.model).exists() and Path(recipe.policy.model).samefile(folder)
            return (policy, recipe) if begun_with or folder.parent == parent / "checkpoints" else None
    return None


def build_evaluation(wanted: EvaluationSettings) -> EvaluationContext:
    """Load what is wanted. Raises BadInput, one line, for anything that is not there; settings are checked before models are loaded."""
    agent: Agent = resolve("agent", wanted.agent, AGENTS)
    if not isinstance(agent, Agent):
        if not callable(agent):
            raise BadConfig(f"{agent!r:.80} is not an agent; give a function (engine, prompt, k, max_turns) -> environment, or an Agent.")
        agent = Agent("search", True, agent)
    policy, recipe = wanted.policy, cast(Recipe | None, getattr(wanted.policy, "recipe", None))
    if isinstance(policy, str | Path):
        policy = str(policy)
        policy, recipe = recipe_of_policy(policy) or (policy, None)
    own = wanted.environment is not None and not isinstance(wanted.environment, type) and not isinstance(wanted.environment, str)
    engine = _engine_of(wanted, agent, recipe, needed=not own)
    budgets, prompt = _budgets(wanted, recipe), _prompt(wanted, agent, recipe)
    arbiter, config = Arbiter(), engine if isinstance(engine, EngineConfig) else None
    loaded, served = _policy_of(policy, wanted, arbiter)
    search = load_engine(config, wanted.seed, Device(arbiter=arbiter)) if config else cast(SearchEngine | None, engine)
    k, settings = wanted.k or (config.k if config else 5 if search else 1), rollout_settings(budgets)
    environment = _environment_of(wanted, agent, search, prompt, k, settings.max_turns)
    renderer = resolve("renderer", wanted.renderer)
    said = {
        "agent": name_of(wanted.agent) if wanted.environment is None else name_of(wanted.environment),
        "policy": name_of(policy),
        **served,
        "engine": deciding(config) if config else {"kind": name_of(wanted.engine)} if search else None,
        **({"noise_rate": wanted.noise_rate} if wanted.noise_rate else {}),
        "prompt": blake2b(repr(prompt).encode(), digest_size=8).hexdigest(),
        **asdict(settings),
        "k": k,
        "seed": wanted.seed,
    }
    on_gpu = isinstance(loaded, LocalModel) and loaded.model.device.type != "cpu"
    episode = Episode(wanted.seed, noise_rate=wanted.noise_rate)
    return EvaluationContext(environment, loaded, settings, search, episode, cast(Renderer | None, renderer), said, on_gpu)


def _environment_of(
    wanted: EvaluationSettings, agent: Agent, engine: SearchEngine | None, prompt: PolicyPrompt, k: int, max_turns: int
) -> Environment:
    if wanted.environment is not None:
        return make_environment(wanted.environment, engine, prompt, k, max_turns)
    return agent.environment(engine, prompt, k, max_turns)


def _policy_of(policy: Any, wanted: EvaluationSettings, arbiter: Arbiter) -> tuple[Policy, dict[str, str]]:
    """The policy, and what an endpoint's belongs to an evaluation's settings."""
    if isinstance(policy, str) and ":" in policy and not is_url(policy) and not Path(policy).exists():
        policy = resolve("policy", policy)
    if isinstance(policy, str):
        if is_url(policy):
            remote = _remote_policy(policy, wanted)
            return remote, {"policy_style": wanted.policy_style, "policy_model": asyncio.run(_model_of(remote))}
        return load_policy(PolicyConfig(model=policy), arbiter), {}
    if isinstance(policy, Policy):
        return policy, {}
    if callable(policy):
        return FunctionPolicy(cast(Callable[[str], str], policy)), {}
    raise BadConfig(f"{policy!r:.80} is not a policy; give a folder, a hub id, a URL, a function text -> text, or a zerosearch.Policy.")


def _remote_policy(url: str, wanted: EvaluationSettings) -> RemotePolicy | RemoteTokenPolicy:
    """By text, or by token ids with the tokenizer that the server has, too."""
    style = one_of("policy style", wanted.policy_style, {*PATHS, *DIALECTS})
    if style in PATHS:
        return RemotePolicy(url, wanted.policy_model, style=style)
    if not wanted.policy_tokenizer:
        raise BadConfig(f"--policy-style {style} needs --policy-tokenizer: the folder or hub id of the model that the server runs.")
    return RemoteTokenPolicy(url, load_tokenizer(wanted.policy_tokenizer, offline=False), wanted.policy_model, dialect=style)


async def _model_of(policy: RemotePolicy | RemoteTokenPolicy) -> str:
    """Its name belongs to what an evaluation is; and a server that is not there is found out before anything is written."""
    try:
        return await policy.model_name()
    finally:
        await policy.aclose()


def _engine_of(wanted: EvaluationSettings, agent: Agent, recipe: Recipe | None, needed: bool) -> EngineConfig | SearchEngine | None:
    if not agent.searches:
        return None
    given = wanted.engine
    if given is None:
        if recipe is None and needed:
            raise BadConfig("say what to search: --engine bm25 --corpus FILE, or --engine simulated --simulator MODEL.")
        return None if recipe is None or not needed else recipe.evaluation_engine or recipe.engine
    return make_engine(engine_table(given)) if isinstance(given, str | Mapping) else as_engine(given)


def _budgets(wanted: EvaluationSettings, recipe: Recipe | None) -> RolloutConfig:
    budgets = recipe.rollout if recipe else RolloutConfig()
    said = {"temperature": wanted.temperature, **({"max_turns": wanted.max_turns} if wanted.max_turns is not None else {})}
    return make_rollout({**budgets.model_dump(), **said, **wanted.rollout})


def _prompt(wanted: EvaluationSettings, agent: Agent, recipe: Recipe | None) -> PolicyPrompt:
    own = POLICY_PROMPTS[agent.prompt]
    name = wanted.prompt or str(wanted.rollout.get("prompt", ""))
    if name:
        prompt = policy_prompt(name, own)
    else:  # the prompt that a policy was trained with is that of our own rollout
        prompt = policy_prompt(recipe.rollout.prompt) if recipe and wanted.agent == "zerosearch" else own
    return replace(prompt, distil=distil_prompt(wanted.distil_prompt)) if wanted.distil_prompt else prompt
