"""Every question is scored or listed with its cause; one bad one costs the others nothing."""

import asyncio
from dataclasses import replace

import pytest

from scripted import ScriptedEngine, ScriptedPolicy
from zerosearch.core.errors import BadConfig, GenerationFailed, RunFailed, SearchFailed
from zerosearch.core.types import Document, Question, SearchRequest, SearchResult, StopReason, Usage
from zerosearch.evaluation.evaluate import Evaluation, evaluate
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings
from zerosearch.rollout.prompts import MICRO

SETTINGS = RolloutSettings(max_turns=2, temperature=0.0)
QUESTIONS = [Question(f"q{i}", f"Question {i}?", ("Rome",), {"type": "odd" if i % 2 else "even"}) for i in range(6)]


def run(engine: ScriptedEngine, questions: list[Question] = QUESTIONS, policy: ScriptedPolicy | None = None, **settings: int) -> Evaluation:
    policy = policy or ScriptedPolicy("<search>q</search>", "<answer>Rome</answer>")
    return asyncio.run(evaluate(policy, SearchEnvironment(engine, MICRO, max_turns=2), questions, replace(SETTINGS, **settings)))


def failing_on(error: Exception, *ids: str) -> ScriptedEngine:
    def answer(request: SearchRequest) -> SearchResult:
        if request.question.id in ids:
            raise error
        return SearchResult((Document("Rome"),))

    return ScriptedEngine(answer)


def test_figures_by_pencil() -> None:
    figures = run(ScriptedEngine.of("Rome")).as_dict()
    assert (figures["n"], figures["failed"], figures["em"]["mean"], figures["searches"], figures["answered"]) == (6, 0, 1.0, 1.0, 1.0)
    assert figures["by_type"] == {"even": {"em": 1.0, "n": 3}, "odd": {"em": 1.0, "n": 3}}
    # one token is one character: 18 + 21 written; the prompt goes out twice
    assert figures["policy_tokens"] == len("<search>q</search>") + len("<answer>Rome</answer>")


@pytest.mark.parametrize(
    ("error", "reason", "cause"),
    [
        (SearchFailed("429"), StopReason.SEARCH_FAILED, "429"),
        (GenerationFailed("down"), StopReason.POLICY_FAILED, "down"),
        (KeyError("what"), StopReason.ERROR, "KeyError: 'what'"),
    ],
)
def test_a_failed_question_is_listed_and_counts_in_no_mean(error: Exception, reason: StopReason, cause: str) -> None:
    evaluation = run(failing_on(error, "q2"))
    assert [t.question.id for t in evaluation.trajectories] == [q.id for q in QUESTIONS]
    failed = evaluation.trajectories[2]
    assert (failed.stop_reason, failed.cause, failed.scores) == (reason, cause, None)
    figures = evaluation.as_dict()
    assert (figures["n"], figures["failed"], figures["em"]["mean"]) == (5, 1, 1.0)


def test_what_is_the_users_to_mend_stops_the_run() -> None:
    with pytest.raises(BadConfig, match="set SERPER_API_KEY"):
        run(failing_on(BadConfig("set SERPER_API_KEY"), "q3"))


def test_a_dead_engine_is_given_up_on() -> None:
    many = [replace(QUESTIONS[0], id=str(i)) for i in range(500)]
    engine = failing_on(SearchFailed("connection refused"), *map(str, range(500)))
    with pytest.raises(RunFailed, match=r"the first 20 questions all failed, the last with search_failed: connection refused"):
        run(engine, many)
    assert len(engine.requests) < 500


def test_no_more_than_concurrency_at_a_time() -> None:
    class Slow(ScriptedPolicy):
        now = most = 0

        async def generate(self, token_ids, sampling, session):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            return await super().generate(token_ids, sampling, session)

    policy = Slow("<answer>Rome</answer>")
    asyncio.run(evaluate(policy, SearchEnvironment(ScriptedEngine.of("x"), MICRO, max_turns=2), QUESTIONS, SETTINGS, concurrency=2))
    assert policy.most == 2


def test_usage_is_what_went_through_the_policy() -> None:
    answered = run(ScriptedEngine.of("x"), QUESTIONS[:1], ScriptedPolicy("<answer>Rome</answer>")).answered[0]
    assert answered.usage == Usage(1, len("Question: Question 0?"), 21)
