"""What an evaluation works with, from what was asked for: a policy from anywhere, an engine from anywhere, an agent with its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zerosearch.config.build import Device, load_engine, load_policy, rollout_settings
from zerosearch.config.recipe import EngineConfig, PolicyConfig, Recipe, RolloutConfig, load_recipe
from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.types import Episode
from zerosearch.engines.registry import deciding
from zerosearch.evaluation.context import EvaluationContext
from zerosearch.models.local import LocalModel, load_tokenizer
from zerosearch.models.sampler import Arbiter
from zerosearch.net.chat import PATHS
from zerosearch.net.remote_policy import RemotePolicy
from zerosearch.net.remote_token_policy import DIALECTS, RemoteTokenPolicy
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rollout.agents import AGENTS, Agent
from zerosearch.rollout.prompts import POLICY_PROMPTS, PolicyPrompt, distil_prompt, policy_prompt
from zerosearch.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What a user asked for. `policy` is a folder, a run directory, a hub id or an endpoint's URL; `engine` a recipe's [engine] section,
    None: what the policy's run was evaluated with. Empty texts: the default of the agent or of the policy's run."""

    policy: str
    agent: str = "zerosearch"
    engine: Mapping[str, Any] | None = None
    policy_style: str = "chat"
    policy_model: str = ""
    policy_tokenizer: str = ""
    prompt: str = ""
    distil_prompt: str = ""
    max_turns: int | None = None
    temperature: float = 0.0
    seed: int = 0
    noise_rate: float = 0.0


def is_url(policy: str) -> bool:
    return policy.startswith(("http://", "https://"))


def resolve_policy(policy: str) -> tuple[str, Recipe | None]:
    """A run directory stands for its newest checkpoint, and brings its recipe along; anything else is what it is."""
    if is_url(policy):
        return policy, None
    run = RunDirectory(Path(policy))
    if not run.config.exists():
        return policy, None
    recipe = load_recipe(run.config)
    checkpoints = finished_checkpoints(run)
    if not checkpoints:
        raise BadConfig(f"the run in '{policy}' has no checkpoint yet; let it finish a step: zerosearch train --resume {policy}")
    return str(checkpoints[-1]), recipe


def build_evaluation(wanted: EvaluationSettings) -> EvaluationContext:
    """Load what is wanted. Raises BadInput, one line, for anything that is not there; settings are checked before models are loaded."""
    agent = AGENTS[one_of("agent", wanted.agent, AGENTS)]
    model, recipe = resolve_policy(wanted.policy)
    engine = _engine_config(wanted, agent, recipe)
    budgets = _budgets(wanted, recipe)
    prompt = _prompt(wanted, agent, recipe)
    arbiter = Arbiter()
    served = {}
    if is_url(model):
        policy = _remote_policy(model, wanted)
        served = {"policy_style": wanted.policy_style, "policy_model": asyncio.run(_model_of(policy))}
    else:
        policy = load_policy(PolicyConfig(model=model), arbiter)
    search = load_engine(engine, wanted.seed, Device(arbiter=arbiter)) if engine else None
    k, settings = engine.k if engine else 1, rollout_settings(budgets)
    config = {
        "agent": wanted.agent,
        "policy": model,
        **served,
        "engine": deciding(engine) if engine else None,
        **({"noise_rate": wanted.noise_rate} if wanted.noise_rate else {}),
        "prompt": blake2b(repr(prompt).encode(), digest_size=8).hexdigest(),
        **asdict(settings),
        "k": k,
        "seed": wanted.seed,
    }
    on_gpu = isinstance(policy, LocalModel) and policy.model.device.type != "cpu"
    environment = agent.environment(search, prompt, k, settings.max_turns)
    episode = Episode(wanted.seed, noise_rate=wanted.noise_rate)
    return EvaluationContext(environment, policy, settings, search, episode, config=config, uses_gpu=on_gpu)


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


def _engine_config(wanted: EvaluationSettings, agent: Agent, recipe: Recipe | None) -> EngineConfig | None:
    if not agent.searches:
        return None
    if wanted.engine is None and recipe is None:
        raise BadConfig("say what to search: --engine bm25 --corpus FILE, or --engine simulated --simulator MODEL.")
    if wanted.engine is None:
        assert recipe is not None
        return recipe.evaluation_engine or recipe.engine
    try:
        return EngineConfig.model_validate(wanted.engine)
    except ValidationError as error:
        raise BadConfig(f"the engine: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error


def _budgets(wanted: EvaluationSettings, recipe: Recipe | None) -> RolloutConfig:
    budgets = recipe.rollout if recipe else RolloutConfig()
    said = {"temperature": wanted.temperature, **({"max_turns": wanted.max_turns} if wanted.max_turns is not None else {})}
    return budgets.model_copy(update=said)


def _prompt(wanted: EvaluationSettings, agent: Agent, recipe: Recipe | None) -> PolicyPrompt:
    own = POLICY_PROMPTS[agent.prompt]
    if wanted.prompt:
        prompt = policy_prompt(wanted.prompt, own)
    else:  # the prompt that a policy was trained with is that of our own rollout
        prompt = policy_prompt(recipe.rollout.prompt) if recipe and wanted.agent == "zerosearch" else own
    return replace(prompt, distil=distil_prompt(wanted.distil_prompt)) if wanted.distil_prompt else prompt
