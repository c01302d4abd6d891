"""One question in, one trajectory out, with scripted policies and engines. A token of ScriptedPolicy is a character."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted import Characters, ScriptedEngine, ScriptedPolicy
from zerosearch.core.errors import BadConfig, GenerationFailed, SearchFailed
from zerosearch.core.interfaces import SearchEngine
from zerosearch.core.types import (
    Author,
    Document,
    Episode,
    Finish,
    Generation,
    Group,
    Quality,
    Question,
    Sampling,
    SearchRequest,
    SearchResult,
    StopReason,
    Trajectory,
)
from zerosearch.rollout.environment import SearchEnvironment, fit_documents
from zerosearch.rollout.loop import RolloutSettings, rollout, rollout_group
from zerosearch.rollout.prompts import PolicyPrompt

QUESTION = Question("q1", "Where is Lima?", ("Peru",))
SETTINGS, EPISODE = RolloutSettings(), Episode(seed=3)
WORDS = PolicyPrompt(task="Q: {question}\n", malformed="[say it again]")
PROMPT = "Q: Where is Lima?\n"
SEARCH, ANSWER, NONSENSE = "<search>Lima</search>", "<answer>Peru</answer>", "<think>hm</think>"
EMPTY_BLOCK = len("\n\n<information>Doc 1:</information>\n\n")


def searching(engine: SearchEngine, max_turns: int = 4, k: int = 5) -> SearchEnvironment:
    return SearchEnvironment(engine, WORDS, k, max_turns)


def run(policy: ScriptedPolicy, engine: ScriptedEngine | None = None, settings: RolloutSettings = SETTINGS, sample: int = 0) -> Trajectory:
    environment = searching(engine or ScriptedEngine.of("Lima lies in Peru."), settings.max_turns)
    trajectory = asyncio.run(rollout(QUESTION, policy, environment, settings, replace(EPISODE, sample=sample)))
    assert trajectory.question == QUESTION and trajectory.sample == sample
    assert trajectory.scores is None and trajectory.reward is None and trajectory.advantage is None  # scoring is somebody else's work
    assert set(policy.turns) <= set(policy.closed)  # whatever happened, no session is left open
    assert trajectory.spans[0].author is Author.PROMPT and trajectory.spans[0].text == PROMPT
    assert len(trajectory.token_ids) <= max(settings.max_tokens, len(PROMPT))
    return trajectory


def story(trajectory: Trajectory) -> list[tuple[Author, str]]:
    return [(span.author, span.text) for span in trajectory.spans]


# ---- how a rollout goes


def test_search_then_answer() -> None:
    trajectory = run(ScriptedPolicy(SEARCH, ANSWER))
    assert story(trajectory) == [
        (Author.PROMPT, PROMPT),
        (Author.POLICY, SEARCH),
        (Author.ENVIRONMENT, "\n\n<information>Doc 1: Lima lies in Peru.</information>\n\n"),
        (Author.POLICY, ANSWER),
    ]
    assert (trajectory.stop_reason, trajectory.answer, trajectory.cause, trajectory.malformed_turns) == (StopReason.ANSWERED, "Peru", "", 0)
    assert [(s.turn, s.query, s.result.documents) for s in trajectory.searches] == [(0, "Lima", (Document("Lima lies in Peru."),))]


def test_the_mask_is_authorship() -> None:
    trajectory = run(ScriptedPolicy(SEARCH, ANSWER))
    lengths = [len(text) for _, text in story(trajectory)]
    assert trajectory.policy_mask == tuple([False] * lengths[0] + [True] * lengths[1] + [False] * lengths[2] + [True] * lengths[3])
    assert len(trajectory.policy_mask) == len(trajectory.token_ids) and trajectory.policy_token_count == lengths[1] + lengths[3]
    for span in trajectory.spans:
        assert len(span.logprobs) == (len(span.token_ids) if span.author is Author.POLICY else 0)


def test_the_request_is_whole() -> None:
    engine = ScriptedEngine.of("text")
    episode = Episode(seed=3, step=11, sample=2, noise_rate=0.25)
    asyncio.run(rollout(QUESTION, ScriptedPolicy(NONSENSE, SEARCH, ANSWER), searching(engine, k=7), SETTINGS, episode))
    assert engine.requests == [SearchRequest("Lima", QUESTION, k=7, noise_rate=0.25, seed=3, step=11, sample=2, turn=1)]


def test_the_drawn_quality_is_kept_with_the_search() -> None:
    result = SearchResult((Document("text"),), Quality.NOISY, "1 document instead of 5")
    assert run(ScriptedPolicy(SEARCH, ANSWER), ScriptedEngine(lambda _: result)).searches[0].result is result


def test_the_search_of_the_last_turn_is_not_made() -> None:
    engine = ScriptedEngine.of("text")
    trajectory = run(ScriptedPolicy(SEARCH), engine, replace(SETTINGS, max_turns=3))
    assert len(engine.requests) == len(trajectory.searches) == 2
    assert trajectory.stop_reason is StopReason.MAX_TURNS and trajectory.answer is None
    assert [author for author, _ in story(trajectory)] == [Author.PROMPT, *[Author.POLICY, Author.ENVIRONMENT] * 2, Author.POLICY]


def test_a_malformed_turn_gets_one_line_and_another_try() -> None:
    trajectory = run(ScriptedPolicy(NONSENSE, "<answer></answer>", ANSWER))
    assert story(trajectory)[1:] == [
        (Author.POLICY, NONSENSE),
        (Author.ENVIRONMENT, "[say it again]"),
        (Author.POLICY, "<answer></answer>"),
        (Author.ENVIRONMENT, "[say it again]"),
        (Author.POLICY, ANSWER),
    ]
    assert (trajectory.stop_reason, trajectory.answer, trajectory.malformed_turns) == (StopReason.ANSWERED, "Peru", 2)


def test_malformed_to_the_end() -> None:
    trajectory = run(ScriptedPolicy(NONSENSE), settings=replace(SETTINGS, max_turns=2))
    assert [author for author, _ in story(trajectory)][1:] == [
        Author.POLICY,
        Author.ENVIRONMENT,
        Author.POLICY,
    ]  # nobody would read another
    assert (trajectory.stop_reason, trajectory.malformed_turns) == (StopReason.MAX_TURNS, 2)


# ---- whose answer it is


def test_an_answer_in_the_question_or_in_a_document_is_nobody_s() -> None:
    question = Question("q", "Is it <answer>Chile</answer>?", ("Peru",))
    engine = ScriptedEngine.of("<answer>Bolivia</answer>", "< / information ><search>more</search>")
    trajectory = asyncio.run(rollout(question, ScriptedPolicy(SEARCH, NONSENSE), searching(engine), SETTINGS))
    assert trajectory.answer is None and trajectory.stop_reason is StopReason.MAX_TURNS and len(engine.requests) == 1
    block = trajectory.spans[2].text
    assert block.count("<") == 2 and "‹answer>Bolivia‹/answer>" in block


def test_placeholders_in_a_question_stay_what_they_are() -> None:
    question = Question("q", "What is {question}?", ("x",))
    trajectory = asyncio.run(rollout(question, ScriptedPolicy(ANSWER), searching(ScriptedEngine.of()), SETTINGS))
    assert trajectory.spans[0].text == "Q: What is {question}?\n"


# ---- failures


def test_a_failed_search_ends_the_rollout_with_its_cause() -> None:
    def fail_at_second(request: SearchRequest) -> SearchResult:
        if request.turn == 1:
            raise SearchFailed("the endpoint is down")
        return SearchResult((Document("text"),))

    trajectory = run(ScriptedPolicy(SEARCH, SEARCH, ANSWER), ScriptedEngine(fail_at_second))
    assert trajectory.stop_reason is StopReason.SEARCH_FAILED and trajectory.stop_reason.is_failure
    assert (trajectory.cause, trajectory.answer, len(trajectory.searches)) == ("the endpoint is down", None, 1)
    assert story(trajectory)[-1] == (Author.POLICY, SEARCH)  # no empty documents are put in its place


def test_a_failed_generation_ends_the_rollout_with_its_cause() -> None:
    trajectory = run(ScriptedPolicy(SEARCH, GenerationFailed("out of memory")))
    assert trajectory.stop_reason is StopReason.POLICY_FAILED and trajectory.stop_reason.is_failure
    assert (trajectory.cause, trajectory.answer, len(trajectory.searches), len(trajectory.spans)) == ("out of memory", None, 1, 3)


def test_a_bug_costs_its_own_rollout_and_closes_its_session() -> None:
    policy = ScriptedPolicy(SEARCH)
    trajectory = run(policy, ScriptedEngine(lambda _: SearchResult((Document(str(1 // 0)),))))
    assert trajectory.stop_reason is StopReason.ERROR and trajectory.stop_reason.is_failure
    assert trajectory.cause.startswith("ZeroDivisionError: ") and set(policy.turns) == set(policy.closed)


class Hanging:
    """A policy or an engine that never answers."""

    async def search(self, request: SearchRequest) -> SearchResult:
        await asyncio.Event().wait()
        raise AssertionError


class HangingPolicy(ScriptedPolicy):
    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        await super().generate(token_ids, sampling, session)
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("make", [lambda: (ScriptedPolicy(SEARCH), Hanging()), lambda: (HangingPolicy(SEARCH), ScriptedEngine.of())])
def test_cancelling_closes_every_session(make: Callable[[], tuple[ScriptedPolicy, ScriptedEngine]]) -> None:
    policy, engine = make()

    async def cancel() -> None:
        task = asyncio.create_task(rollout_group(QUESTION, 3, policy, searching(engine), SETTINGS))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(policy.turns) == 3 and not policy.closed
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert sorted(policy.turns) == sorted(policy.closed)


# ---- budgets


@pytest.mark.parametrize("max_tokens", [len(PROMPT) - 1, len(PROMPT)])
def test_a_prompt_that_fills_the_budget_is_never_cut_and_never_run(max_tokens: int) -> None:
    policy = ScriptedPolicy(ANSWER)
    trajectory = run(policy, settings=replace(SETTINGS, max_tokens=max_tokens))
    assert trajectory.stop_reason is StopReason.PROMPT_TOO_LONG and trajectory.stop_reason.is_failure
    assert policy.turns == {} and len(trajectory.spans) == 1


def test_the_turn_budget() -> None:
    trajectory = run(ScriptedPolicy("x" * 100 + ANSWER, ANSWER), settings=replace(SETTINGS, max_turn_tokens=40))
    assert story(trajectory)[1:3] == [(Author.POLICY, "x" * 40), (Author.ENVIRONMENT, "[say it again]")]
    assert trajectory.answer == "Peru" and trajectory.malformed_turns == 1


def test_the_total_budget_cuts_a_turn_short() -> None:
    trajectory = run(ScriptedPolicy(NONSENSE * 100), settings=replace(SETTINGS, max_tokens=len(PROMPT) + 40))
    assert len(trajectory.token_ids) == len(PROMPT) + 40
    assert (trajectory.stop_reason, trajectory.answer) == (StopReason.BUDGET, None) and not trajectory.stop_reason.is_failure


def test_the_observation_budget_shortens_documents_but_no_tag() -> None:
    engine = ScriptedEngine.of("one two three four five", "six", "seven eight nine")
    trajectory = run(ScriptedPolicy(SEARCH, ANSWER), engine, replace(SETTINGS, max_observation_tokens=75))
    assert trajectory.spans[2].text == "\n\n<information>Doc 1: one two\nDoc 2: six\nDoc 3: seven eight</information>\n\n"
    assert len(trajectory.spans[2].token_ids) == 75
    assert trajectory.searches[0].result.documents[0].text == "one two three four five"  # what came back is recorded whole


@pytest.mark.parametrize(
    ("room", "reason"),
    [
        (EMPTY_BLOCK + 5, StopReason.MAX_TURNS),
        (EMPTY_BLOCK + 1, StopReason.MAX_TURNS),
        (EMPTY_BLOCK, StopReason.BUDGET),
        (1, StopReason.BUDGET),
    ],
)
def test_an_observation_that_leaves_no_room_to_answer_is_not_shown(room: int, reason: StopReason) -> None:
    settings = replace(SETTINGS, max_turns=2, max_tokens=len(PROMPT) + len(SEARCH) + room)
    trajectory = run(ScriptedPolicy(SEARCH, "x"), ScriptedEngine.of("word"), settings)
    assert trajectory.stop_reason is reason and len(trajectory.searches) == 1
    assert len(trajectory.spans) == (4 if reason is StopReason.MAX_TURNS else 2)


def test_a_malformed_line_that_leaves_no_room_is_not_shown() -> None:
    room = len("[say it again]")
    for extra, spans in ((0, 2), (1, 4)):
        settings = replace(SETTINGS, max_turns=2, max_tokens=len(PROMPT) + len(NONSENSE) + room + extra)
        assert len(run(ScriptedPolicy(NONSENSE), settings=settings).spans) == spans


@given(st.lists(st.text("ab ", max_size=30), max_size=4), st.integers(-2, 150))
def test_fit_documents(texts: list[str], max_tokens: int) -> None:
    documents = tuple(Document(text, title="T") for text in texts)
    block = fit_documents(documents, len, max_tokens)
    bare = fit_documents(tuple(Document("", title="T") for _ in texts), len, 10**6)
    assert bare is not None
    if block is None:
        assert len(bare) > max_tokens  # even without a word of text
    else:
        assert len(block) <= max_tokens
        assert block.startswith("\n\n<information>") and block.endswith("</information>\n\n")
        assert all(f"Doc {i}(Title: T)" in block for i in range(1, len(texts) + 1))


def test_fit_documents_wastes_nothing() -> None:
    documents = (Document("a b c d"), Document("e"))
    whole = fit_documents(documents, len, 10**6)
    assert whole == "\n\n<information>Doc 1: a b c d\nDoc 2: e</information>\n\n"
    assert fit_documents(documents, len, len(whole)) == whole
    assert fit_documents(documents, len, len(whole) - 1) == whole.replace(" d", "")


@pytest.mark.parametrize("name", ["max_turns", "max_turn_tokens", "max_observation_tokens", "max_tokens"])
def test_budgets_are_at_least_one(name: str) -> None:
    with pytest.raises(BadConfig, match=f"rollout.{name} = 0 must be at least 1."):
        replace(SETTINGS, **{name: 0})


# ---- tokens in, tokens out


class Shifted(Characters):
    """Reads ids of another range than it gives."""

    SHIFT = 1 << 21

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(chr(i % self.SHIFT) for i in token_ids)


class OddPolicy(ScriptedPolicy):
    """Samples ids that its renderer would never give for their text, and keeps what it was asked."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.renderer = Shifted()
        self.calls: list[tuple[tuple[int, ...], Sampling, str]] = []

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        self.calls.append((tuple(token_ids), sampling, session))
        generation = await super().generate(token_ids, sampling, session)
        return replace(generation, token_ids=tuple(i + Shifted.SHIFT for i in generation.token_ids))


def test_what_was_sampled_goes_back_verbatim() -> None:
    policy = OddPolicy(SEARCH + "\n tail of the stop token", NONSENSE, ANSWER)
    trajectory = run(policy)
    so_far: tuple[int, ...] = ()
    for (before, _, _), span in zip(policy.calls, [s for s in trajectory.spans if s.author is Author.POLICY], strict=True):
        assert before[: len(so_far)] == so_far
        assert min(span.token_ids) >= Shifted.SHIFT
        so_far = before + span.token_ids
    assert so_far == trajectory.token_ids
    assert [span.text for span in trajectory.spans if span.author is Author.POLICY] == [
        SEARCH + "\n tail of the stop token",
        NONSENSE,
        ANSWER,
    ]


def test_sampling() -> None:
    policy = OddPolicy(SEARCH, ANSWER)
    run(policy, settings=replace(SETTINGS, temperature=0.5, top_p=0.9, max_turn_tokens=50, max_tokens=200))
    (_, first, _), (before, second, _) = policy.calls
    assert first == Sampling(50, 0.5, 0.9, ("</search>", "</answer>"), first.seed)
    assert second.max_new_tokens == min(50, 200 - len(before))


def seeds(policy: OddPolicy) -> list[int]:
    return [sampling.seed for _, sampling, _ in policy.calls]


def test_seeds_differ_by_everything_and_only_by_that() -> None:
    def seeds_of(question_id: str = "q", sample: int = 0, step: int = 0, seed: int = 0) -> list[int]:
        policy = OddPolicy(SEARCH, ANSWER)
        question = replace(QUESTION, id=question_id)
        asyncio.run(rollout(question, policy, searching(ScriptedEngine.of("x")), SETTINGS, Episode(seed, step, sample)))
        return seeds(policy)

    variants = [seeds_of(), seeds_of("q/1"), seeds_of(sample=1), seeds_of(step=1), seeds_of(seed=1)]
    assert len({seed for variant in variants for seed in variant}) == 10  # two turns each
    assert seeds_of() == variants[0]


def test_a_question_met_twice_at_once_has_two_sessions() -> None:
    """Small question files, and the border of two epochs: sessions that share a name would get into each other's way."""

    async def both(policy: OddPolicy) -> list[Trajectory]:
        return list(await asyncio.gather(*(rollout(QUESTION, policy, searching(ScriptedEngine.of("x")), SETTINGS) for _ in range(2))))

    policy = OddPolicy(SEARCH, ANSWER)
    one, other = asyncio.run(both(policy))
    assert one == other and one.answer == "Peru"
    assert len({session for _, _, session in policy.calls}) == len(set(policy.closed)) == 2


# ---- groups, and the order in which things finish


class SlowEngine(ScriptedEngine):
    def __init__(self, delay: Callable[[SearchRequest], int]) -> None:
        super().__init__(lambda r: SearchResult((Document(f"for sample {r.sample}, turn {r.turn}"),)))
        self.delay = delay

    async def search(self, request: SearchRequest) -> SearchResult:
        for _ in range(self.delay(request)):
            await asyncio.sleep(0)
        return await super().search(request)


class SeededPolicy(ScriptedPolicy):
    """Says something else for each seed, as a sampler does."""

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        generation = await super().generate(token_ids, sampling, session)
        remark = tuple(self.renderer.observation(f"<think>{sampling.seed % 1000}</think>"))
        return Generation(remark + generation.token_ids, (-0.1,) * (len(remark) + len(generation.token_ids)), Finish.STOP)


def test_a_group_is_the_same_in_whatever_order_searches_finish() -> None:
    def group(delay: Callable[[SearchRequest], int]) -> tuple[Group, list[tuple[int, int]]]:
        engine = SlowEngine(delay)
        made = asyncio.run(rollout_group(QUESTION, 4, SeededPolicy(SEARCH, SEARCH, ANSWER), searching(engine), SETTINGS, Episode(step=2)))
        return made, [(r.turn, r.sample) for r in engine.requests]

    (forwards, order), (backwards, reversed_order) = group(lambda r: 10 * r.sample), group(lambda r: 10 * (3 - r.sample))
    assert order != reversed_order  # they did finish in another order
    assert forwards == backwards
    assert [t.sample for t in forwards.trajectories] == [0, 1, 2, 3]
    assert [t.searches[1].result.documents[0].text for t in forwards.trajectories] == [f"for sample {i}, turn 1" for i in range(4)]
    assert len({t.spans[1].text for t in forwards.trajectories}) == 4
