"""A policy by token ids, against servers with the shapes of vLLM and SGLang in front of a real checkpoint (not the servers themselves)."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from endpoint import Body, speaking
from scripted import ScriptedEngine
from zerosearch.core.interfaces import Policy
from zerosearch.core.types import Finish, Generation, Question, Sampling, StopReason, Trajectory
from zerosearch.models.local import LocalModel, load_tokenizer
from zerosearch.net.remote_token_policy import RemoteTokenPolicy
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, rollout
from zerosearch.rollout.prompts import MICRO

QUESTION = Question("q", "where was Zurzan Garhan born?", ("x",))
SETTINGS = RolloutSettings(max_turns=3, max_turn_tokens=24, max_observation_tokens=60, max_tokens=200, temperature=0.0)
ENVIRONMENT = SearchEnvironment(ScriptedEngine.of("Zurzan Garhan was born in Velport ."), MICRO, max_turns=3)
_REASON = {Finish.STOP: "stop", Finish.EOS: "stop", Finish.LENGTH: "length"}


def vllm_reply(g: Generation, body: Body, stop: str | None) -> dict[str, Any]:
    assert body["return_token_ids"] and body["include_stop_str_in_output"]
    choice = {"token_ids": list(g.token_ids), "logprobs": {"token_logprobs": list(g.logprobs)}, "finish_reason": _REASON[g.finish]}
    return {
        "choices": [{**choice, "text": "…", "stop_reason": stop}],
        "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(g.token_ids)},
    }


def sglang_reply(g: Generation, body: Body, stop: str | None) -> dict[str, Any]:
    assert body["return_logprob"] and body["sampling_params"]["no_stop_trim"]
    pairs = [[logprob, token, None] for logprob, token in zip(g.logprobs, g.token_ids, strict=True)]
    reason = {"type": _REASON[g.finish], **({"matched": stop} if stop else {})}
    counts = {"prompt_tokens": len(body["input_ids"]), "completion_tokens": len(pairs)}
    return {"text": "…", "meta_info": {"output_token_logprobs": pairs, "finish_reason": reason, **counts}}


def behind(dialect: str, folder: Path, answer: Any = None) -> tuple[Trajectory, list[Body]]:
    """One rollout through a server of that shape."""
    model, calls = LocalModel.load(str(folder), "cpu"), count()

    async def real(body: Body) -> web.Response:
        wanted = body if dialect == "vllm" else body["sampling_params"]
        limit = wanted["max_tokens" if dialect == "vllm" else "max_new_tokens"]
        sampling = Sampling(limit, wanted["temperature"], wanted["top_p"], tuple(wanted["stop"]))
        session = f"s{next(calls)}"
        g = await model.generate(body["prompt" if dialect == "vllm" else "input_ids"], sampling, session)
        model.close(session)
        text = model.renderer.decode(g.token_ids)
        stop = next((s for s in sampling.stop if s in text), None) if g.finish is Finish.STOP else None
        return web.json_response((vllm_reply if dialect == "vllm" else sglang_reply)(g, body, stop))

    with speaking(answer or real) as server:

        async def main() -> Trajectory:
            policy = RemoteTokenPolicy(server.url, load_tokenizer(str(folder), offline=True), "m", dialect=dialect, first_wait_s=0.01)
            assert isinstance(policy, Policy)
            try:
                return await rollout(QUESTION, policy, ENVIRONMENT, SETTINGS)
            finally:
                await policy.aclose()

        return asyncio.run(main()), server.bodies


@pytest.mark.parametrize("dialect", ["vllm", "sglang"])
def test_token_for_token_what_the_checkpoint_says_in_process(dialect: str, micro: Path) -> None:
    here = asyncio.run(rollout(QUESTION, LocalModel.load(str(micro / "policy"), "cpu"), ENVIRONMENT, SETTINGS))
    there, bodies = behind(dialect, micro / "policy")
    assert there.token_ids == here.token_ids and there.policy_mask == here.policy_mask
    assert there.stop_reason == here.stop_reason and there.answer == here.answer
    for ours, theirs in zip(here.spans, there.spans, strict=True):
        assert theirs.text == ours.text and theirs.logprobs == pytest.approx(ours.logprobs, abs=1e-4)
    for turn, body in enumerate(bodies):  # nothing was decoded and encoded again
        sent = body["prompt" if dialect == "vllm" else "input_ids"]
        assert sent == [i for span in here.spans[: 2 * turn + 1] for i in span.token_ids]


@pytest.mark.parametrize("dialect", ["vllm", "sglang"])
def test_a_server_that_tells_no_token_ids(dialect: str, micro: Path) -> None:
    trajectory, bodies = behind(dialect, micro / "policy", lambda body: web.json_response({"choices": [{"text": "hm"}]}))
    assert trajectory.stop_reason is StopReason.POLICY_FAILED and len(bodies) == 1
    assert "the reply holds no token ids" in trajectory.cause and "--policy-style completions" in trajectory.cause


def test_a_token_without_its_log_prob(micro: Path) -> None:
    reply = {"choices": [{"token_ids": [1, 2], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": "stop"}]}
    trajectory, _ = behind("vllm", micro / "policy", lambda body: web.json_response(reply))
    assert "2 tokens and 1 log-probs" in trajectory.cause
