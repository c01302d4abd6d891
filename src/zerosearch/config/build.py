"""From a recipe's words, and objects handed in from Python, to what a run works with. What is missing is said in one line, before anything
is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from typing import Any, cast

from zerosearch.config.recipe import PolicyConfig, Recipe, RolloutConfig
from zerosearch.core.curriculum import NoiseCurriculum
from zerosearch.core.errors import BadConfig, called
from zerosearch.core.function_engine import as_engine
from zerosearch.core.interfaces import Chat, Environment, Renderer, SearchEngine
from zerosearch.core.registry import resolve
from zerosearch.core.rewards import reward_function
from zerosearch.core.types import Question
from zerosearch.data.questions import load_questions
from zerosearch.engines.registry import EngineContext, build_engine, builder_of
from zerosearch.engines.settings import EngineConfig
from zerosearch.models.local import LocalModel
from zerosearch.models.lora import attach
from zerosearch.models.sampler import Arbiter
from zerosearch.net.chat import OpenAIChat
from zerosearch.net.pool import EndpointPool, addresses
from zerosearch.rl.algorithms import ALGORITHMS, Algorithm, loss_function
from zerosearch.rl.rollouts import Reward
from zerosearch.rl.settings import require_fit
from zerosearch.rl.train import Curriculum, TrainingContext
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.rollout.prompts import SEARCH, PolicyPrompt, policy_prompt


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run. Models of one process share an arbiter, so that the fullest batch goes next."""

    name: str = "auto"
    dtype: str = "float32"
    arbiter: Arbiter | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What was handed in as an object; None: what the recipe names."""

    policy: Any = None
    questions: Sequence[Question] | None = None
    held_out: Sequence[Question] | None = None
    engine: Any = None
    evaluation_engine: Any = None
    environment: Any = None
    renderer: Any = None
    reward: Any = None
    algorithm: Any = None
    curriculum: Any = None
    trackers: Mapping[str, Any] = field(default_factory=dict[str, Any])


NOTHING = Given()


def resolved(recipe: Recipe, given: Given) -> Given:
    """With the environment and the engines that the recipe names by module:name: what was found here is what reaches the workers."""

    def found(kind: str, given: Any, name: str) -> Any:
        return resolve(kind, name) if given is None and ":" in name else given

    environment = found("environment", given.environment, recipe.rollout.environment)
    if environment is not None and not wants_engine(environment):
        return replace(given, environment=environment)
    evaluated = recipe.evaluation_engine.kind if recipe.evaluation_engine else ""
    engine = found("engine", given.engine, recipe.engine.kind)
    return replace(given, environment=environment, engine=engine, evaluation_engine=found("engine", given.evaluation_engine, evaluated))


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
    return RolloutSettings(**config.model_dump(exclude={"prompt", "environment", "renderer"}))


def load_environment(recipe: Recipe, config: EngineConfig, device: Device, engine: Any = None, environment: Any = None) -> Environment:
    """What the policy acts in: our own tags over the engine of an [engine] section, or what was handed in of the two."""
    given = environment if environment is not None else recipe.rollout.environment
    if engine is None and (given == "search" or isinstance(given, str) or wants_engine(given)):
        engine = load_engine(config, recipe.run.seed, device)
    found = as_engine(engine) if engine is not None else None
    return make_environment(given, found, policy_prompt(recipe.rollout.prompt), config.k, recipe.rollout.max_turns)


def make_environment(given: Any, engine: SearchEngine | None, prompt: PolicyPrompt = SEARCH, k: int = 5, max_turns: int = 4) -> Environment:
    """An environment from "search" (ours), an object with `reset` and `step`, or what makes one: a class or a function, which gets the
    engine if it has a parameter of that name. Raises BadConfig."""
    if given == "search":
        return SearchEnvironment(engine, prompt, k, max_turns)
    found = resolve("environment", given, {"search": None})
    if callable(found) and (isinstance(found, type) or not _is_environment(found)):
        found = found(engine=engine) if wants_engine(found) else found()
    if not _is_environment(found):
        raise BadConfig(f"{found!r:.80} is not an environment; it needs reset(question) -> str and step(text) -> zerosearch.Step.")
    return cast(Environment, found)


def _is_environment(given: Any) -> bool:
    return callable(getattr(given, "reset", None)) and callable(getattr(given, "step", None))


def wants_engine(given: Any) -> bool:
    if not callable(given) or (_is_environment(given) and not isinstance(given, type)):
        return False
    try:
        return "engine" in signature(given).parameters
    except (TypeError, ValueError):
        return False


def load_renderer(recipe: Recipe, given: Any, policy: LocalModel) -> Renderer | None:
    """None: the policy's own. A class or a function is called with the tokenizer."""
    found = resolve("renderer", given if given is not None else recipe.rollout.renderer, {"template": None})
    if found is None:
        return None
    found = found(policy.tokenizer) if callable(found) else found
    if not isinstance(found, Renderer):
        raise BadConfig(f"{found!r:.80} is not a renderer; it needs prompt(text), observation(text) and decode(token_ids).")
    return found


def load_algorithm(recipe: Recipe, given: Any) -> Algorithm:
    algorithm = resolve("algorithm", given if given is not None else recipe.rl.algorithm, ALGORITHMS)
    if callable(algorithm):  # a function from a step's rewards to advantages, with the usual loss
        algorithm = Algorithm(cast(Any, algorithm))
    if not isinstance(algorithm, Algorithm):
        raise BadConfig(f"{algorithm!r:.80} is not an algorithm; give a zerosearch.Algorithm, or a function from rewards to advantages.")
    try:
        require_fit(recipe.rl, algorithm)
        loss_function(algorithm)  # a name that nobody knows is said before models are loaded
    except ValueError as error:
        raise BadConfig(f"rl.{error}.") from None
    return algorithm


def load_curriculum(recipe: Recipe, given: Any) -> Curriculum:
    """`(step, rewards) -> noise rate`; a function of one parameter gets the step alone. What it gives is checked at every step."""
    chosen = given if given is not None else recipe.curriculum.schedule
    if isinstance(chosen, str) and ":" not in chosen:
        return recipe.noise_curriculum().noise_rate
    found = resolve("curriculum", chosen)
    found = found.noise_rate if isinstance(found, NoiseCurriculum) else found
    if not callable(found):
        raise BadConfig(f"{found!r:.80} is not a curriculum; give a function (step, rewards) -> noise rate.")
    takes = signature(found).parameters.values()
    alone = sum(p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for p in takes) == 1

    def noise_rate(step: int, rewards: Sequence[float]) -> float:
        rate = called(f"curriculum at step {step}", found, step, *([] if alone else [rewards]))
        if not isinstance(rate, int | float) or not math.isfinite(rate) or not 0 <= rate <= 1:
            raise BadConfig(f"the curriculum returned {rate!r:.80} for step {step}; a noise rate is a probability, from 0 to 1.")
        return float(rate)

    return noise_rate


def load_training(recipe: Recipe, given: Given = NOTHING) -> TrainingContext:
    """What a training run works with. Raises BadInput, one line, for whatever is not there; words are checked before models are loaded."""
    for config, engine in ((recipe.engine, given.engine), (recipe.evaluation_engine, given.evaluation_engine)):
        if config and engine is None and given.environment is None:
            builder_of(config.kind)
    algorithm, curriculum = load_algorithm(recipe, given.algorithm), load_curriculum(recipe, given.curriculum)
    reward = resolve("reward", given.reward) if given.reward is not None else reward_function(recipe.rl.reward)
    if not callable(reward):
        raise BadConfig(f"{reward!r:.80} is not a reward; give a function trajectory -> float, or name one, for instance rl.reward=f1.")
    questions = given.questions if given.questions is not None else load_questions(recipe.questions.train)
    held_out = given.held_out if given.held_out is not None else []
    if recipe.questions.held_out and given.held_out is None:
        held_out = load_questions(recipe.questions.held_out)
    arbiter = Arbiter()
    device = Device(recipe.policy.device, recipe.policy.dtype, arbiter)
    policy = given.policy if given.policy is not None else load_policy(recipe.policy, arbiter, recipe.run.seed)
    if not questions:
        raise BadConfig("there is no question to train on; give at least one.")
    if not isinstance(policy, LocalModel):
        raise BadConfig(f"a policy that learns is a checkpoint's folder or hub id, received {policy!r:.80}; others can be evaluated.")
    evaluated = recipe.evaluation_engine is not None or given.evaluation_engine is not None
    engine = recipe.evaluation_engine or recipe.engine
    return TrainingContext(
        policy=policy,
        environment=load_environment(recipe, recipe.engine, device, given.engine, given.environment),
        questions=questions,
        settings=rollout_settings(recipe.rollout),
        rl=recipe.rl,
        keep=recipe.run,
        guards=recipe.guards,
        curriculum=curriculum,
        reward=cast(Reward, reward),
        algorithm=algorithm,
        renderer=load_renderer(recipe, given.renderer, policy),
        held_out=held_out[: recipe.questions.held_out_limit or None],
        evaluation_environment=load_environment(recipe, engine, device, given.evaluation_engine, given.environment) if evaluated else None,
    )
