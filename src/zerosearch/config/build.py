"""From a recipe's words to working parts: models, engines, questions. What is missing is said in one line, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from zerosearch.config.recipe import EngineConfig, PolicyConfig, Recipe, RolloutConfig
from zerosearch.core.interfaces import Chat, SearchEngine
from zerosearch.data.questions import load_questions
from zerosearch.engines.registry import EngineContext, build_engine, builder_of
from zerosearch.models.local import LocalModel
from zerosearch.models.lora import attach
from zerosearch.models.sampler import Arbiter
from zerosearch.net.chat import OpenAIChat
from zerosearch.net.pool import EndpointPool, addresses
from zerosearch.rl.train import TrainingContext
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.rollout.prompts import policy_prompt


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run. Models of one process share an arbiter, so that the fullest batch goes next."""

    name: str = "auto"
    dtype: str = "float32"
    arbiter: Arbiter | None = None


def load_engine(config: EngineConfig, seed: int, device: Device) -> SearchEngine:
    """The engine of a recipe's [engine] section. Raises BadInput."""
    return build_engine(config, EngineContext(lambda config: load_chat(config, device), device.name, seed))


def load_chat(config: EngineConfig, device: Device) -> Chat:
    if len(urls := addresses(config.url)) > 1:
        return EndpointPool(urls, config.model, timeout_s=config.timeout_s, outage_s=config.outage_s)
    if config.url:
        return OpenAIChat(config.url, config.model, timeout_s=config.timeout_s)
    return LocalModel.load(config.model, device.name, device.dtype, arbiter=device.arbiter)


def load_policy(config: PolicyConfig, arbiter: Arbiter | None = None, seed: int = 0) -> LocalModel:
    policy = LocalModel.load(config.model, config.device, config.dtype, arbiter=arbiter)
    if not config.lora_rank:
        return policy
    return LocalModel(attach(policy.model, config.lora_rank, config.lora_alpha, seed), policy.tokenizer, arbiter)


def rollout_settings(config: RolloutConfig) -> RolloutSettings:
    return RolloutSettings(**config.model_dump(exclude={"prompt"}))


def load_environment(recipe: Recipe, config: EngineConfig, device: Device) -> SearchEnvironment:
    """What the policy acts in: our own tags over the engine of an [engine] section."""
    engine = load_engine(config, recipe.run.seed, device)
    return SearchEnvironment(engine, policy_prompt(recipe.rollout.prompt), config.k, recipe.rollout.max_turns)


def load_training(recipe: Recipe) -> TrainingContext:
    for engine in filter(None, (recipe.engine, recipe.evaluation_engine)):
        builder_of(engine.kind)  # a mistyped name is said before a model is loaded
    questions = load_questions(recipe.questions.train)
    held_out = load_questions(recipe.questions.held_out) if recipe.questions.held_out else []
    arbiter = Arbiter()
    device = Device(recipe.policy.device, recipe.policy.dtype, arbiter)
    return TrainingContext(
        policy=load_policy(recipe.policy, arbiter, recipe.run.seed),
        environment=load_environment(recipe, recipe.engine, device),
        questions=questions,
        settings=rollout_settings(recipe.rollout),
        rl=recipe.rl,
        keep=recipe.run,
        guards=recipe.guards,
        curriculum=recipe.noise_curriculum(),
        held_out=held_out[: recipe.questions.held_out_limit or None],
        evaluation_environment=load_environment(recipe, recipe.evaluation_engine, device) if recipe.evaluation_engine else None,
    )
