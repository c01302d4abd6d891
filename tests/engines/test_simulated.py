"""The simulated engine: the coin, the prompt, one generation for one draw, failures that stay failures."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from zerosearch.core.errors import BadConfig, GenerationFailed, SearchFailed
from zerosearch.core.types import Document, Quality, Question, Sampling, SearchRequest, SearchResult
from zerosearch.engines.prompts import SIMULATOR_PROMPTS, Imitated
from zerosearch.engines.simulated import Guard, SimulatedEngine, draw_quality

TEMPLATE = "Question: {question} Answer: {golden_answers} Query: {query} Kind: {quality} Count: {k}"
SAMPLING = Sampling(max_new_tokens=100, temperature=0.8, stop=("</information>",))
EVEREST = Question("q1", "Which mountain is highest?", ("Everest", "Mount Everest"))
REQUEST = SearchRequest("highest mountain", EVEREST, k=2)


class ScriptedChat:
    """Answers with what `reply` makes of the prompt and the sampling; keeps both."""

    def __init__(self, reply: Callable[[str, Sampling], str]) -> None:
        self.prompts: list[str] = []
        self.samplings: list[Sampling] = []
        self._reply = reply

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        await asyncio.sleep(0)
        return self._reply(prompt, sampling)


def by_seed(prompt: str, sampling: Sampling) -> str:
    """What a model does: the reply depends on the prompt and the seed."""
    rng = random.Random(f"{prompt}|{sampling.seed}")
    return f"Doc 1: {rng.random()}\nDoc 2: {rng.random()}"


def engine(chat: ScriptedChat, template: str = TEMPLATE, *, share: bool = False, k: int | None = None) -> SimulatedEngine:
    return SimulatedEngine(chat, template, k=k, sampling=SAMPLING, seed=7, share_coin_in_group=share)


def search_all(simulated: SimulatedEngine, requests: list[SearchRequest]) -> list[SearchResult]:
    async def main() -> list[SearchResult]:
        return await asyncio.gather(*(simulated.search(request) for request in requests))

    return asyncio.run(main())


# ---- the coin


def test_the_coin_is_fair_and_certain_at_the_ends() -> None:
    requests = [replace(REQUEST, sample=sample, turn=turn) for sample in range(500) for turn in range(4)]
    noisy = {
        rate: sum(draw_quality(replace(request, noise_rate=rate)) is Quality.NOISY for request in requests) for rate in (0.0, 0.25, 1.0)
    }
    assert noisy[0.0] == 0 and noisy[1.0] == 2000
    assert abs(noisy[0.25] - 500) < 60  # three standard deviations of a binomial(2000, 1/4)


def test_the_coin_is_the_same_in_every_process_and_version() -> None:
    # pinned, for a run must replay years later: u = first 8 bytes of blake2b('["coin", 0, 0, "q1", <sample>, 0]') / 2^64
    drawn = [draw_quality(replace(REQUEST, noise_rate=0.5, sample=sample)) for sample in range(8)]
    assert "".join(quality.value[0] for quality in drawn) == "uuununun"


@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 1}, {"sample": 1}, {"turn": 1}, {"question": replace(EVEREST, id="q2")}])
def test_each_name_of_a_search_has_its_own_coins(change: dict[str, object]) -> None:
    requests = [replace(REQUEST, noise_rate=0.5, turn=10 * turn) for turn in range(64)]
    changed = [replace(request, **({"turn": request.turn + 1} if "turn" in change else change)) for request in requests]
    differing = sum(draw_quality(a) is not draw_quality(b) for a, b in zip(requests, changed, strict=True))
    assert 12 < differing < 52


def test_the_coin_sees_neither_query_nor_answers() -> None:
    for turn in range(32):
        request = replace(REQUEST, noise_rate=0.5, turn=turn)
        other = replace(request, query="something else", question=Question("q1", "?", ()))
        assert draw_quality(request) is draw_quality(other)


def test_a_group_can_share_its_coin() -> None:
    group = [replace(REQUEST, noise_rate=0.5, sample=sample, turn=turn) for turn in range(16) for sample in range(5)]
    shared = engine(ScriptedChat(by_seed), share=True)
    for turn in range(16):
        assert len({shared.draw_quality(request) for request in group if request.turn == turn}) == 1
    assert len({shared.draw_quality(request) for request in group}) == 2


# ---- the prompt


def test_the_prompt_holds_all_that_belongs_together() -> None:
    chat = ScriptedChat(by_seed)
    search_all(engine(chat), [replace(REQUEST, query="  highest \n mountain ")])
    assert chat.prompts == [
        "Question: Which mountain is highest? Answer: Everest; Mount Everest Query: highest mountain Kind: useful Count: 2"
    ]
    assert (chat.samplings[0].stop, chat.samplings[0].temperature) == (SAMPLING.stop, SAMPLING.temperature)
    assert 0 <= chat.samplings[0].seed < 2**31


def test_braces_stay_what_they_are() -> None:
    chat = ScriptedChat(by_seed)
    question = Question("q", "What is {quality}?", ("{query}", "a}{b"))
    search_all(engine(chat, '{"json": 1} {question} {golden_answers} {query} {quality} {other}'), [SearchRequest("{k} {", question)])
    assert chat.prompts == ['{"json": 1} What is {quality}? {query}; a}{b {k} { useful {other}']


@pytest.mark.parametrize("name", ["query", "quality"])
def test_a_template_without_a_needed_placeholder_is_refused(name: str) -> None:
    with pytest.raises(BadConfig, match=f"no {{{name}}}"):
        engine(ScriptedChat(by_seed), TEMPLATE.replace(f"{{{name}}}", ""))


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(BadConfig, match="k is 0"):
        engine(ScriptedChat(by_seed), k=0)


# ---- the draw


def test_the_same_query_is_written_once() -> None:
    chat = ScriptedChat(by_seed)
    simulated = engine(chat)
    group = [replace(REQUEST, sample=sample, turn=sample % 2, query=query) for sample, query in enumerate(["a b", "a  b", "a b "])]
    results = search_all(simulated, group)
    assert len({result.documents for result in results}) == 1
    assert len(chat.prompts) == 1
    assert (simulated.draws.calls, simulated.draws.hits) == (3, 2)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"step": 1}, {"query": "other"}, {"noise_rate": 1.0}, {"question": replace(EVEREST, id="q2")}]
)
def test_other_searches_get_other_documents(change: dict[str, object]) -> None:
    chat = ScriptedChat(by_seed)
    first, second = search_all(engine(chat), [REQUEST, replace(REQUEST, **change)])
    assert first.documents != second.documents
    assert chat.samplings[0].seed != chat.samplings[1].seed


def test_order_changes_nothing() -> None:
    requests = [
        replace(REQUEST, query=query, noise_rate=0.5, sample=sample, step=step)
        for query in ("a", "b")
        for sample in range(4)
        for step in range(2)
    ]
    forward = search_all(engine(ScriptedChat(by_seed)), requests)
    backward = search_all(engine(ScriptedChat(by_seed)), requests[::-1])
    assert forward == backward[::-1]
    assert {result.quality for result in forward} == {Quality.USEFUL, Quality.NOISY}


def test_a_question_is_never_mixed_up_with_another_of_the_same_id() -> None:
    chat = ScriptedChat(lambda prompt, _: f"Doc 1: {prompt}")
    other = replace(REQUEST, question=Question("q1", "Which is deepest?", ("Mariana Trench",)))
    first, second = search_all(engine(chat), [REQUEST, other])
    assert "Everest" in first.documents[0].text and "Mariana" in second.documents[0].text


def test_what_was_odd_is_said() -> None:
    (result,) = search_all(engine(ScriptedChat(lambda *_: "Doc 1: only one")), [REQUEST])
    assert result == SearchResult((Document("only one"),), Quality.USEFUL, "1 document instead of 2")


def test_a_simulator_may_always_be_asked_for_as_many_as_it_was_tuned_on() -> None:
    chat = ScriptedChat(lambda *_: "Doc 1: a\nDoc 2: b\nDoc 3: c")
    (result,) = search_all(engine(chat, k=3), [REQUEST])
    assert chat.prompts[0].endswith("Count: 3")
    assert result == SearchResult((Document("a"), Document("b")), Quality.USEFUL, "")


# ---- failures


def test_a_bad_draw_is_drawn_again() -> None:
    replies = iter(["", "Doc 1: \n", "Doc 1: a\nDoc 2: b"])
    chat = ScriptedChat(lambda *_: next(replies))
    (result,) = search_all(engine(chat), [REQUEST])
    assert [document.text for document in result.documents] == ["a", "b"]
    assert len({sampling.seed for sampling in chat.samplings}) == 3


def test_no_document_after_all_attempts_is_a_failure() -> None:
    chat = ScriptedChat(lambda *_: "Doc 1:\nDoc 2:")
    with pytest.raises(SearchFailed, match="wrote no document in 3 attempts: 'Doc 1: Doc 2:'"):
        search_all(engine(chat), [REQUEST])
    assert len(chat.prompts) == 3


def test_a_dead_chat_is_a_failure_with_its_cause_and_is_asked_again_next_time() -> None:
    def dead_once(prompt: str, sampling: Sampling) -> str:
        if len(chat.prompts) == 1:
            raise GenerationFailed("connection refused")
        return by_seed(prompt, sampling)

    chat = ScriptedChat(dead_once)
    simulated = engine(chat)
    with pytest.raises(SearchFailed, match="connection refused") as failure:
        search_all(simulated, [REQUEST])
    assert isinstance(failure.value.__cause__, GenerationFailed)
    assert len(search_all(simulated, [REQUEST])[0].documents) == 2


class Lines:
    """A chat that says one line after another."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.seeds: list[int] = []

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        self.seeds.append(sampling.seed)
        return self.lines.pop(0)


def guarded(
    *lines: str, redraws: int = 2, noise_rate: float = 0.0, golds: tuple[str, ...] = ("Peru",), noisy_alone: bool = False
) -> tuple[SimulatedEngine, SearchResult]:
    keywords = (Quality.NOISY,) if noisy_alone else tuple(Quality)
    engine = SimulatedEngine(
        Lines(*lines), "{query} {quality}", k=1, sampling=Sampling(10), seed=0, guard_redraws=redraws, guarded=keywords
    )
    request = SearchRequest("Lima", Question("q", "Where is Lima?", golds), 1, noise_rate)
    return engine, asyncio.run(engine.search(request))


def test_the_guard_draws_a_useful_reply_again_until_it_holds_the_answer() -> None:
    engine, result = guarded("Doc 1: A bean.", "Doc 1: A city.", "Doc 1: Lima is in Peru.")
    assert result.documents[0].text == "Lima is in Peru." and result.remark == ""
    assert engine.guard == Guard(replies=1, redrawn=1, redraws=2, broken=0)


def test_the_guard_draws_a_noisy_reply_again_until_it_does_not() -> None:
    engine, result = guarded("Doc 1: In Peru.", "Doc 1: A bean.", noise_rate=1.0)
    assert result.documents[0].text == "A bean." and engine.guard == Guard(1, 1, 1, 0)


def test_the_guard_of_noisy_replies_alone_leaves_useful_ones_as_they_are() -> None:
    engine, result = guarded("Doc 1: A bean.", noisy_alone=True)
    assert result.documents[0].text == "A bean." and engine.guard == Guard()
    engine, result = guarded("Doc 1: In Peru.", "Doc 1: A bean.", noise_rate=1.0, noisy_alone=True)
    assert result.documents[0].text == "A bean." and engine.guard == Guard(1, 1, 1, 0)


def test_the_guard_gives_up_and_says_so() -> None:
    engine, result = guarded("Doc 1: A.", "Doc 1: B.", redraws=1)
    assert (result.documents[0].text, result.remark) == ("B.", "useful, but the answer is missing") and engine.guard == Guard(1, 1, 1, 1)
    _, result = guarded("Doc 1: Peru.", "Doc 1: Peru!", redraws=1, noise_rate=1.0)
    assert result.remark == "noisy, but the answer is there"


def test_the_guard_is_off_by_default_and_leaves_yes_and_no_alone() -> None:
    for engine, result in (guarded("Doc 1: A bean.", redraws=0), guarded("Doc 1: A bean.", golds=("yes",))):
        assert result.documents[0].text == "A bean." and engine.guard == Guard()


def test_what_it_stands_in_for_is_a_setting() -> None:
    template = "{persona}, {domain}, {language}, {words}: {query} {quality}"
    imitated = Imitated("a clerk", "case law", "German", 50)
    engine = SimulatedEngine(Lines(), template, k=1, sampling=Sampling(10), seed=0, imitated=imitated)
    prompt = engine.render_prompt(SearchRequest("lease", Question("q", "?", ("x",))), Quality.USEFUL)
    assert prompt == "a clerk, case law, German, 50: lease useful"


def test_prompts_of_one_question_share_all_but_the_query() -> None:
    """What differs from search to search comes last, so that servers can keep the rest."""
    for template in (SIMULATOR_PROMPTS["web"], SIMULATOR_PROMPTS["tuned"]):
        constant, _, rest = template.partition("{question}")
        assert "{query}" not in constant and "{quality}" not in constant
        assert rest.index("{golden_answers}") < rest.index("{query}") < rest.index("{quality}")
