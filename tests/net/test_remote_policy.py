"""A policy behind an endpoint, against real servers on loopback: what is sent, what is made of the replies, what failures come to."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint import Body, serving, speaking
from scripted import ScriptedEngine
from zerosearch.core.errors import BadConfig, GenerationFailed
from zerosearch.core.interfaces import Policy
from zerosearch.core.types import Finish, Question, Sampling, StopReason, Trajectory, Usage
from zerosearch.models.local import LocalModel
from zerosearch.net.remote_policy import Pieces, RemotePolicy, close_tag
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, rollout
from zerosearch.rollout.prompts import MICRO, SEARCH

STOP = ("</search>", "</answer>")
QUESTION = Question("q1", "Capital of Italy?", ("Rome",))
SETTINGS = RolloutSettings(temperature=0.0)


@settings(deadline=None)  # a busy machine may stop for a second anywhere
@given(st.text())
def test_pieces_lose_nothing(text: str) -> None:
    pieces = Pieces()
    assert pieces.decode(pieces.observation(text)) == text


def test_pieces_are_about_tokens_and_the_same_everywhere() -> None:
    text = "Who wrote the novel that Blade Runner, the 1982 film, is based on?"
    ids = Pieces().observation(text)
    assert len(ids) == 16 and ids == Pieces().observation(text) and all(0 <= i < 2**53 for i in ids)
    other = Pieces()
    other.observation("on? based is")
    assert other.observation(text) == ids


@pytest.mark.parametrize(
    ("text", "reason", "matched", "closed", "finish"),
    [
        # what most servers do: cut before the stop string, and do not say which
        ("<think>a</think><search>q", "stop", None, "<think>a</think><search>q</search>", Finish.STOP),
        ("<search>abandoned <answer>Rome", "stop", None, "<search>abandoned <answer>Rome</answer>", Finish.STOP),
        # vLLM and SGLang say which
        ("<search>q", "stop", "</search>", "<search>q</search>", Finish.STOP),
        ("no tag was opened", "stop", "</answer>", "no tag was opened</answer>", Finish.STOP),
        # the model ended the text itself
        ("Rome.", "stop", None, "Rome.", Finish.EOS),
        ("Rome.", "stop", 151643, "Rome.", Finish.EOS),
        # the budget ran out inside a query: nothing is closed for it
        ("<search>q", "length", None, "<search>q", Finish.LENGTH),
        # a server that heeds no stop strings, or leaves them in
        ("<search>q</search><information>made up", "stop", None, "<search>q</search>", Finish.STOP),
        ("<search>q</search>", "stop", "</search>", "<search>q</search>", Finish.STOP),
        ("", "stop", None, "", Finish.EOS),
    ],
)
def test_the_closing_tag_is_put_back(text: str, reason: str, matched: object, closed: str, finish: Finish) -> None:
    assert close_tag(text, reason, matched, STOP) == (closed, finish)


def ask(answer: Callable[[Body], Any], style: str = "chat", **limits: Any) -> tuple[Trajectory, list[Body]]:
    """One rollout against a server; and the requests it saw."""
    with speaking(answer) as server:

        async def main() -> Trajectory:
            policy = RemotePolicy(server.url, "m", style=style, first_wait_s=0.01, **limits)
            assert isinstance(policy, Policy)
            try:
                return await rollout(QUESTION, policy, SearchEnvironment(ScriptedEngine.of("Rome is the capital."), SEARCH), SETTINGS)
            finally:
                await policy.aclose()

        return asyncio.run(main()), server.bodies


def two_turns(body: Body) -> str:
    text = str(body)
    return "<think>b</think><answer>Rome</answer> trailing" if "Rome is" in text else "<think>a</think><search>capital</search>"


def test_chat_sees_turns_as_messages() -> None:
    trajectory, bodies = ask(two_turns)
    assert trajectory.answer == "Rome" and [s.query for s in trajectory.searches] == ["capital"]
    assert [s.text for s in trajectory.spans][1] == "<think>a</think><search>capital</search>"
    first, second = (body["messages"] for body in bodies)
    assert [m["role"] for m in first] == ["user"] and QUESTION.text in first[0]["content"]
    assert [m["role"] for m in second] == ["user", "assistant", "user"]
    assert second[1]["content"] == "<think>a</think><search>capital</search>"
    assert second[2]["content"] == "\n\n<information>Doc 1: Rome is the capital.</information>\n\n"
    assert bodies[0]["stop"] == list(STOP) and bodies[0]["model"] == "m" and 0 <= bodies[0]["seed"] < 2**31


def test_completions_see_one_text() -> None:
    trajectory, bodies = ask(two_turns, style="completions")
    assert trajectory.answer == "Rome"
    assert bodies[1]["prompt"] == "".join(s.text for s in trajectory.spans[:3])
    assert all(span.logprobs == () for span in trajectory.spans)


def test_the_servers_own_count_is_kept() -> None:
    with speaking(lambda body: "one two three") as server:

        async def main() -> Usage | None:
            policy = RemotePolicy(server.url)
            generation = await policy.generate(policy.renderer.prompt("a b"), Sampling(5), "s")
            await policy.aclose()
            return generation.usage

        assert asyncio.run(main()) == Usage(1, 2, 3)
        assert server.bodies[0]["model"] == "tiny"  # asked for, as none was named


def test_a_session_that_does_not_go_on_begins_anew() -> None:
    with speaking(lambda body: "x") as server:

        async def main() -> None:
            policy = RemotePolicy(server.url, "m")
            for text in ("first", "another"):
                await policy.generate(policy.renderer.observation(text), Sampling(5), "s")
            policy.close("s")
            policy.close("unknown")
            await policy.aclose()

        asyncio.run(main())
        assert [body["messages"] for body in server.bodies] == [
            [{"role": "user", "content": "first"}],
            [{"role": "user", "content": "another"}],
        ]


@pytest.mark.parametrize(
    ("status", "calls", "cause"),
    [(401, 1, "set a key in $NO_SUCH_KEY"), (403, 1, "set a key"), (400, 1, "check model"), (429, 3, "3 attempts"), (503, 3, "3 attempts")],
)
def test_an_error_fails_the_question_after_bounded_attempts(status: int, calls: int, cause: str) -> None:
    trajectory, bodies = ask(lambda body: web.Response(status=status, text="no"), max_attempts=3, api_key_env="NO_SUCH_KEY")
    assert trajectory.stop_reason is StopReason.POLICY_FAILED and trajectory.scores is None
    assert f"status {status}: no" in trajectory.cause and cause in trajectory.cause and len(bodies) == calls


def test_a_passing_error_is_tried_again() -> None:
    calls = count()
    trajectory, _ = ask(lambda body: web.Response(status=429) if next(calls) == 0 else two_turns(body))
    assert trajectory.answer == "Rome"


def test_a_server_that_hangs_is_given_up_on() -> None:
    async def hang(body: Body) -> str:
        await asyncio.sleep(60)
        return "late"

    trajectory, _ = ask(hang, timeout_s=0.5, max_attempts=2)
    assert trajectory.stop_reason is StopReason.POLICY_FAILED and "timed out after 0.5 s (2 attempts)" in trajectory.cause


def test_a_reply_without_text() -> None:
    answer = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}
    trajectory, _ = ask(lambda body: web.json_response(answer))
    assert "the reply holds no text (finish_reason length)" in trajectory.cause


def test_nobody_there() -> None:
    async def main() -> None:
        policy = RemotePolicy("http://127.0.0.1:9/v1", first_wait_s=0.01, max_attempts=2)
        try:
            await policy.model_name()
        finally:
            await policy.aclose()

    with pytest.raises(GenerationFailed, match=r"connection refused \(2 attempts\)"):
        asyncio.run(main())
    with pytest.raises(BadConfig, match="unknown policy style 'chats'; did you mean 'chat'"):
        RemotePolicy("http://localhost/v1", style="chats")


def test_a_checkpoint_answers_alike_in_process_and_behind_an_endpoint(micro: Path) -> None:
    """Raw completions in front of the same weights, greedy: the same first turn, and what comes of it."""
    settings = RolloutSettings(max_turns=3, max_turn_tokens=24, max_observation_tokens=200, max_tokens=600, temperature=0.0)
    question = Question("q", "where was Zurzan Garhan born?", ("x",))
    model = LocalModel.load(str(micro / "policy"), "cpu")
    environment = SearchEnvironment(ScriptedEngine.of("Zurzan Garhan was born in Velport ."), MICRO, max_turns=3)
    here = asyncio.run(rollout(question, model, environment, settings))

    with serving(LocalModel.load(str(micro / "policy"), "cpu")) as url:

        async def main() -> Trajectory:
            policy = RemotePolicy(url, style="completions")
            try:
                return await rollout(question, policy, environment, settings)
            finally:
                await policy.aclose()

        there = asyncio.run(main())
    assert there.spans[1].text.split() == here.spans[1].text.split()
    assert [s.query for s in there.searches[:1]] == [s.query for s in here.searches[:1]]
