"""verl's agent loop around `rollout/loop.py`: tags, budgets, noise coin and scoring are the code of the embedded trainer."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from zerosearch.config.build import Device, load_curriculum, load_environment, rollout_settings
from zerosearch.config.recipe import Recipe, open_run
from zerosearch.core.errors import GenerationFailed, one_line
from zerosearch.core.interfaces import Environment
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.rewards import reward_function
from zerosearch.core.types import Author, Episode, Finish, Generation, Group, Question, Sampling, Trajectory
from zerosearch.rl.rollouts import Reward, with_rewards
from zerosearch.rl.train import Curriculum
from zerosearch.rollout.loop import RolloutSettings, rollout

# what makes each server keep the closing tag a turn ends with
KEEP_STOP = {"vllm": {"include_stop_str_in_output": True}, "sglang": {"no_stop_trim": True}}


class ServerPolicy:
    """verl's servers as a Policy. `seconds` were spent waiting for them; `versions` are the weights that answered, by optimiser step."""

    def __init__(self, servers: Any, tokenizer: Any, sampling_params: Mapping[str, Any], server: str) -> None:
        self.renderer = TemplateRenderer(tokenizer)
        self._servers, self._base = servers, {**sampling_params, **KEEP_STOP.get(server, KEEP_STOP["vllm"])}
        self.seconds, self.versions = 0.0, list[int]()

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        own = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_new_tokens}
        wanted = {**self._base, **own, "stop": list(sampling.stop)}
        started = time.perf_counter()
        try:
            output = await self._servers.generate(request_id=session, prompt_ids=list(token_ids), sampling_params=wanted)
        except Exception as error:  # whatever a server or Ray raises, this rollout failed and no other
            raise GenerationFailed(f"the rollout server failed: {one_line(f'{type(error).__name__}: {error}', 300)}") from error
        self.seconds += time.perf_counter() - started
        self.versions += [v for k in ("min_global_steps", "max_global_steps") if (v := output.extra_fields.get(k)) is not None]
        if not output.token_ids:
            raise GenerationFailed(f"the rollout server wrote nothing (stop reason {output.stop_reason})")
        logprobs = output.log_probs or [0.0] * len(output.token_ids)
        finish = Finish.LENGTH if len(output.token_ids) >= sampling.max_new_tokens else Finish.STOP
        return Generation(tuple(output.token_ids), tuple(logprobs), finish)

    def close(self, session: str) -> None:
        """The servers keep what they like."""


@cache
def workplace(run: str) -> tuple[Recipe, RolloutSettings, Environment, Environment, Curriculum, Reward]:
    """What all rollouts of a process share: the recipe, its budgets, the environments (training, held-out), noise and reward."""
    recipe = open_run(run)[1]
    device = Device("cpu", recipe.policy.dtype)
    environment = load_environment(recipe, recipe.engine, device)
    held_out = load_environment(recipe, recipe.evaluation_engine, device) if recipe.evaluation_engine else environment
    curriculum, reward = load_curriculum(recipe, None), reward_function(recipe.rl.reward)
    return recipe, rollout_settings(recipe.rollout), environment, held_out, curriculum, reward


class SearchLoop(AgentLoopBase):
    """One rollout of verl's. `run` is the run directory; the other arguments are verl's.

    The base's constructor is left out: it prepares the merging of chat messages, which depends on the model's type. Here tokens are only
    ever appended.
    """

    def __init__(self, *, run: str, trainer_config: Any, server_manager: Any, tokenizer: Any, **_: Any) -> None:
        self.work, self.servers, self.tokenizer = workplace(run), server_manager, tokenizer
        self.server = trainer_config.config.actor_rollout_ref.rollout.name

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """A row of the parquet → prompt, response, mask, log-probs, reward. What fails becomes a masked sample that says why."""
        recipe, settings, environment, held_out, curriculum, reward = self.work
        started, training = time.perf_counter(), (row["extra_info"] or {}).get("split") != "held_out"
        question = Question(str(row["id"]), row["question"], tuple(row["golden_answers"]), json.loads(row.get("metadata") or "{}"))
        settings = replace(settings, temperature=sampling_params["temperature"], top_p=sampling_params["top_p"])
        policy = ServerPolicy(self.servers, self.tokenizer, sampling_params, self.server)
        # verl counts from the step it is in, the curriculum from the steps that are done
        step, sample = max(int(row["global_steps"]) - training, 0), int(row["session_id"])
        noise_rate = curriculum(step, ()) if training else 0.0
        episode = Episode(recipe.run.seed, step, sample, noise_rate)
        trajectory = await rollout(question, policy, environment if training else held_out, settings, episode)
        trajectory = with_rewards(Group(question, (trajectory,)), reward).trajectories[0]
        return sample_of(trajectory, self.tokenizer.eos_token_id or 0, policy, time.perf_counter() - started, (step,))


def sample_of(t: Trajectory, end_id: int, policy: ServerPolicy, seconds: float, version: tuple[int, ...] = (0,)) -> AgentLoopOutput:
    """A trajectory as verl takes it. A failed one is a single end token, masked: no gradient, and no part in any mean."""
    prompt = list(t.spans[0].token_ids) if t.spans else [end_id]
    ids, mask, logprobs, failed = [end_id], [0], [0.0], t.stop_reason.is_failure
    if not failed:
        ids, mask, logprobs = list[int](), list[int](), list[float]()
        last = max(i for i, span in enumerate(t.spans) if span.author is Author.POLICY)
        for span in t.spans[1 : last + 1]:  # an observation that nobody answered would take the reward's place
            n, sampled = len(span.token_ids), span.author is Author.POLICY
            ids, mask = [*ids, *span.token_ids], [*mask, *[int(sampled)] * n]
            logprobs += span.logprobs if sampled else [0.0] * n
    versions, spent = policy.versions or version, {"generating": policy.seconds, "searching": max(seconds - policy.seconds, 0.0)}
    told = {"em": t.scores and t.scores.em, "f1": t.scores and t.scores.f1, "searches": len(t.searches), "failed": float(failed)}
    extra = {"min_global_steps": min(versions), "max_global_steps": max(versions), "reward_extra_info": told}
    tokens = {"prompt_ids": prompt, "response_ids": ids, "response_mask": mask, "response_logprobs": logprobs}
    return AgentLoopOutput(
        **tokens,
        reward_score=t.reward or 0.0,
        num_turns=len(t.spans),
        metrics=AgentLoopMetrics(generate_sequences=spent["generating"], tool_calls=spent["searching"]),
        # verl would make a plain dict of a dataclass
        extra_fields={**extra, "trajectory": pickle.dumps(t), "seconds": {**spent, "rollout": seconds}},
    )
