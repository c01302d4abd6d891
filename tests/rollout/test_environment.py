"""The search environment by itself, over text; and environments of other people in the rollout."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scripted import ScriptedEngine, ScriptedPolicy
from zerosearch.core.errors import BadConfig
from zerosearch.core.types import Author, Document, Episode, Quality, Question, SearchRequest, SearchResult, Step, StopReason
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, rollout, rollout_group

QUESTION = Question("q1", "Where is Lima?", ("Peru",))
SETTINGS = RolloutSettings(max_turns=3)


# ---- over text, by hand


def test_reset_and_step() -> None:
    engine = ScriptedEngine.of("Lima lies in Peru.")
    environment = SearchEnvironment(engine, k=2, max_turns=3)
    assert "Where is Lima?" in environment.reset("Where is Lima?")
    step = environment.step("<think>hm</think><search>Lima</search>")
    assert (step.observation, step.done, step.reward) == ("\n\n<information>Doc 1: Lima lies in Peru.</information>\n\n", False, None)
    assert [(s.turn, s.query) for s in step.searches] == [(0, "Lima")] and engine.requests[0].k == 2
    assert environment.step("hm") == Step(environment.prompt.malformed, malformed=True)
    assert environment.step("<search>once more</search>") == Step(done=True)  # the last turn does not search
    assert len(engine.requests) == 1
    environment.reset(QUESTION)
    assert environment.step("<answer>Peru</answer>") == Step(done=True, answer="Peru")


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> tuple[Step, Step]:
        environment = SearchEnvironment(ScriptedEngine.of("x"))
        environment.reset(QUESTION)
        return environment.step("<search>a</search>"), await environment.astep("<search>a</search>")

    one, other = asyncio.run(notebook())
    assert one.observation == other.observation and one.searches[0].turn == 0 and other.searches[0].turn == 1


def test_each_rollout_begins_a_fresh_one() -> None:
    engine = ScriptedEngine(lambda r: SearchResult((Document(f"sample {r.sample} of step {r.step}"),), Quality.NOISY))
    environment = SearchEnvironment(engine)
    policy = ScriptedPolicy("<search>a</search>", "<answer>b</answer>")
    group = asyncio.run(rollout_group(QUESTION, 2, policy, environment, SETTINGS, Episode(seed=5, step=7, noise_rate=0.5)))
    assert [(r.seed, r.step, r.sample, r.noise_rate) for r in engine.requests] == [(5, 7, 0, 0.5), (5, 7, 1, 0.5)]
    assert [t.searches[0].result.documents[0].text for t in group.trajectories] == ["sample 0 of step 7", "sample 1 of step 7"]
    assert environment.turn == -1 and environment.episode == Episode()  # the one that was handed in stays as it was


def test_no_engine_no_search() -> None:
    with pytest.raises(BadConfig, match="2 turns needs an engine"):
        SearchEnvironment(None, max_turns=2)
    assert SearchEnvironment(None, max_turns=1).reset("x")


# ---- anybody's environment in the rollout


class Guess:
    """Think of a number: another grammar, no engine, no base class."""

    stop = (".",)

    def reset(self, question: Question) -> str:
        self.guesses = 0
        return "guess."

    def step(self, text: str) -> Step:
        self.guesses += 1
        if text == "7.":
            return Step(done=True, answer="7", reward=1 / self.guesses)
        return Step("more." if self.guesses < 9 else None, done=self.guesses == 9)


class AsyncGuess(Guess):
    async def astep(self, text: str) -> Step:
        await asyncio.sleep(0)
        return super().step(text)


class Coroutines:
    async def reset(self, question: Question) -> str:
        return "?"

    async def step(self, text: str) -> Step:
        return Step(done=True)


@pytest.mark.parametrize("environment", [Guess(), AsyncGuess()])
def test_another_grammar(environment: Guess) -> None:
    policy = ScriptedPolicy("3.", "7.")
    trajectory = asyncio.run(rollout(QUESTION, policy, environment, SETTINGS))
    assert [(s.author, s.text) for s in trajectory.spans] == [
        (Author.PROMPT, "guess."),
        (Author.POLICY, "3."),
        (Author.ENVIRONMENT, "more."),
        (Author.POLICY, "7."),
    ]
    assert (trajectory.answer, trajectory.reward, trajectory.stop_reason) == ("7", 0.5, StopReason.ANSWERED)
    assert not hasattr(environment, "guesses")  # a rollout gets a copy


def test_turns_are_limited_where_the_environment_has_no_limit() -> None:
    trajectory = asyncio.run(rollout(QUESTION, ScriptedPolicy("3."), Guess(), SETTINGS))
    assert trajectory.stop_reason is StopReason.MAX_TURNS and [s.author for s in trajectory.spans].count(Author.POLICY) == 3


def test_both_methods_may_be_coroutines_and_an_end_needs_no_answer() -> None:
    trajectory = asyncio.run(rollout(QUESTION, ScriptedPolicy("hm"), Coroutines(), SETTINGS))
    assert trajectory.stop_reason is StopReason.ENDED and trajectory.answer is None and not trajectory.stop_reason.is_failure


class Returns:
    def __init__(self, reset: Any, step: Any) -> None:
        self._reset, self._step = reset, step

    def reset(self, question: Question) -> Any:
        return self._reset

    def step(self, text: str) -> Any:
        return self._step


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (Returns(None, None), "Returns.reset returned None; it must return a text."),
        (Returns("?", "text"), "Returns.step returned 'text'; it must return a zerosearch.Step with an observation, or with done=True."),
        (Returns("?", Step()), "it must return a zerosearch.Step with an observation"),
    ],
)
def test_what_an_environment_may_not_return(environment: Returns, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        asyncio.run(rollout(QUESTION, ScriptedPolicy("hm"), environment, SETTINGS))
    assert said in str(caught.value)


def test_an_environment_that_breaks_costs_its_own_rollout() -> None:
    class Breaks(Guess):
        def step(self, text: str) -> Step:
            return Step(str({}["nothing"]))

    trajectory = asyncio.run(rollout(QUESTION, ScriptedPolicy("hm"), Breaks(), SETTINGS))
    assert (trajectory.stop_reason, trajectory.cause) == (StopReason.ERROR, "KeyError: 'nothing'")


def test_a_renderer_of_ones_own() -> None:
    class Doubled:
        """Every character twice."""

        def prompt(self, text: str) -> list[int]:
            return [c for char in text for c in (ord(char), ord(char))]

        observation = prompt

        def decode(self, token_ids: Any) -> str:
            return "".join(map(chr, token_ids))

    trajectory = asyncio.run(rollout(QUESTION, ScriptedPolicy("3.", "7."), Guess(), SETTINGS, renderer=Doubled()))
    assert [len(s.token_ids) for s in trajectory.spans] == [12, 2, 10, 2]


def test_the_engine_sees_the_turn_it_is_asked_in() -> None:
    asked: list[int] = []

    def answer(request: SearchRequest) -> SearchResult:
        asked.append(request.turn)
        return SearchResult((Document("x"),))

    act: Callable[..., Awaitable[Any]] = rollout
    asyncio.run(act(QUESTION, ScriptedPolicy("hm", "<search>a</search>", "no"), SearchEnvironment(ScriptedEngine(answer)), SETTINGS))
    assert asked == [1]
