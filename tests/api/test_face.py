"""The library's face, used as a stranger would: objects and functions in, records out; what is wrong is said in one line."""

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zerosearch as zs
from scripted import ScriptedPolicy
from zerosearch.api.settings import recipe_of
from zerosearch.data.questions import load_questions

BUDGETS = {"prompt": "micro", "max_turns": 3, "max_turn_tokens": 24, "max_observation_tokens": 60, "max_tokens": 200}
RL = {"steps": 1, "questions_per_step": 2, "group_size": 3}
FAUST = [zs.Question("faust", "who wrote Faust?", ("Goethe",))]


def library(query: str, k: int) -> list[Any]:
    return [f"{query}: Goethe", {"title": "Faust", "text": "a play"}, zs.Document("Marlowe")][:k]


async def slow_library(query: str, k: int) -> list[Any]:
    await asyncio.sleep(0)
    return library(query, k)


def writes(*turns: str) -> Callable[[str], str]:
    """A policy that is a function: the first of `turns` that its prompt does not hold yet."""
    return lambda text: next(turn for turn in turns if turn not in text)


SEARCHES = writes("<think>hm</think><search>Faust author</search>", "<answer>Goethe</answer>")


def trained(world: Path, out: Path, **given: Any) -> zs.Run:
    settings = {"engine": library, "rl": RL, "rollout": BUDGETS, "run": {"workers": 1, "seed": 3}, "out": out}
    return zs.train(world / "policy", world / "questions.jsonl", **{**settings, **given})


@pytest.mark.parametrize("engine", [library, slow_library])
def test_a_question_to_functions(engine: Any) -> None:
    trajectory = zs.rollout("who wrote Faust?", policy=SEARCHES, engine=engine, k=2)
    assert trajectory.answer == "Goethe" and trajectory.stop_reason == "answered"
    assert [d.text for d in trajectory.searches[0].result.documents] == ["Faust author: Goethe", "a play"]
    assert [span.author.value for span in trajectory.spans] == ["prompt", "policy", "environment", "policy"]


def test_objects_go_in_as_they_are() -> None:
    policy = ScriptedPolicy("<search>Faust</search>", "<answer>Goethe</answer>")
    environment = zs.SearchEnvironment(zs.SimulatedEngine(lambda prompt: "Doc 1: Goethe wrote it.", noise=0.25), k=1)
    trajectory = zs.rollout(FAUST[0], policy, environment=environment)
    assert trajectory.searches[0].result.documents[0].text == "Goethe wrote it." and trajectory.question is FAUST[0]


def test_an_environment_over_a_function_by_hand() -> None:
    environment = zs.SearchEnvironment(library, "micro", k=1)
    assert environment.reset("who wrote Faust?") == "Question: who wrote Faust?"
    step = environment.step("<search>Faust author</search>")
    assert isinstance(step, zs.Step) and not step.done and "Faust author: Goethe" in (step.observation or "")
    step = environment.step("<answer>Goethe</answer>")
    assert step.done and step.answer == "Goethe" and step.observation is None


def test_an_agent_and_an_algorithm_may_be_functions(micro: Path, tmp_path: Path) -> None:
    def agent(engine: Any, prompt: Any, k: int, max_turns: int) -> zs.Environment:
        return zs.SearchEnvironment(engine, "micro", k=1, max_turns=2)

    report = zs.evaluate(SEARCHES, FAUST, engine=library, agent=agent)
    assert report.em.mean == 1.0 and "Question: who wrote Faust?" in repr(report.rows[0])
    with pytest.raises(zs.BadConfig, match="3 is not an agent; give a function"):
        zs.evaluate(SEARCHES, FAUST, engine=library, agent=3)
    run = trained(micro, tmp_path / "run", algorithm=lambda groups: [[None if r is None else r - 0.5 for r in g] for g in groups])
    assert len(run.metrics) == 1


def test_evaluate_a_list_and_a_file(micro: Path, tmp_path: Path) -> None:
    report = zs.evaluate(SEARCHES, FAUST, engine=library)
    assert (report.em.mean, report.em.n, report.f1.mean, report.failures) == (1.0, 1, 1.0, []) and report.em.low <= 1 <= report.em.high
    assert report.rows[0]["answer"] == "Goethe" and "Goethe" in repr(report.rows[0]["searches"])
    guesses = zs.evaluate(writes("<answer>Anna</answer>"), micro / "questions.jsonl", agent="direct", limit=5, out=tmp_path / "kept")
    assert guesses.n == 5 and (tmp_path / "kept" / "summary.json").exists()


def test_inside_a_running_event_loop(micro: Path, tmp_path: Path) -> None:
    """As in a notebook, whose cells run inside one."""

    async def cell() -> tuple[zs.Trajectory, zs.Trajectory, float, int]:
        awaited = await zs.arollout("who wrote Faust?", SEARCHES, engine=slow_library)
        plain = zs.rollout("who wrote Faust?", SEARCHES, engine=slow_library)
        report = zs.evaluate(SEARCHES, FAUST, engine=library)
        return awaited, plain, report.em.mean, len(trained(micro, tmp_path / "run", engine=slow_library).metrics)

    awaited, plain, em, rows = asyncio.run(cell())
    assert awaited == plain and awaited.answer == "Goethe" and em == 1.0 and rows == 1


def test_a_run_is_trained_opened_and_asked(micro: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    run = trained(
        micro, tmp_path / "run", reward={"f1": 1.0, "format": 0.1}, algorithm="rloo", curriculum=lambda step: 0.25,
        held_out=load_questions(micro / "questions.jsonl")[:4], trackers=lambda figures, step: seen.append(step),
    )  # fmt: skip
    assert run.path == tmp_path / "run" and run.summary["trained"]["n"] == 4
    steps = [row for row in run.metrics if row["kind"] == "train"]
    assert steps[0]["noise_rate"] == 0.25 and 1 in seen
    again = zs.Run(run.path)
    assert again.metrics == run.metrics and again.summary["trained"] == run.summary["trained"]
    with pytest.raises(zs.BadFile, match="has no summary.json"):
        assert zs.Run(tmp_path).summary
    asked = [zs.rollout("who is it?", policy, engine=library).token_ids for policy in (run.policy, again.policy, run.path)]
    assert asked[0] == asked[1] == asked[2]


def test_a_run_is_resumed_from_python_and_only_there(micro: Path, tmp_path: Path) -> None:
    reward = lambda trajectory: 0.5  # noqa: E731 (it has no importable name)
    trained(micro, tmp_path / "run", reward=reward)
    again = trained(micro, tmp_path / "run", reward=reward, resume=True)
    assert len(again.metrics) == 1
    with pytest.raises(zs.BadConfig, match=r"passed from Python .*zerosearch.train\(…, resume=True\) with the same arguments"):
        zs.train(recipe=tmp_path / "run" / "config.toml", resume=True, out=tmp_path / "run")


OWN = """
import zerosearch as zs

LOGGED = []

def search(query, k):
    return [f"{query} is Anna"]

def reward(trajectory):
    return 1.0 if trajectory.answer else 0.0

def schedule(step, rewards):
    return 0.2

def log(figures, step):
    LOGGED.append((step, sorted(figures)))

def advantages(groups):
    return [[None if r is None else r - 0.5 for r in group] for group in groups]

algorithm = zs.Algorithm(advantages)

class Mine(zs.SearchEnvironment):
    pass
"""


def test_a_recipe_names_everything_by_module_and_name(micro: Path, tmp_path: Path) -> None:
    (tmp_path / "parts_of_mine.py").write_text(OWN)
    recipe = {
        "policy": {"model": str(micro / "policy")},
        "questions": {"train": str(micro / "questions.jsonl")},
        "engine": {"kind": "parts_of_mine:search"},
        "rollout": {**BUDGETS, "environment": "parts_of_mine:Mine"},
        "rl": {**RL, "reward": "parts_of_mine:reward", "algorithm": "parts_of_mine:algorithm"},
        "curriculum": {"schedule": "parts_of_mine:schedule"},
        "run": {"workers": 1, "trackers": "parts_of_mine:log", "out": str(tmp_path / "run")},
    }
    with contextlib.chdir(tmp_path):
        run = zs.train(recipe=recipe)
        assert zs.train(recipe=run.path / "config.toml", resume=True).metrics == run.metrics
        with pytest.raises(zs.BadConfig, match="cannot load the tracker 'parts_of_mine:lgo' .*has no attribute 'lgo'"):
            zs.train(recipe=recipe, trackers="parts_of_mine:lgo", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (step,) = run.metrics
    assert step["noise_rate"] == 0.2 and 0 <= step["reward"] <= 1
    ((logged, figures),) = sys.modules["parts_of_mine"].LOGGED
    assert logged == 1 and "train/reward" in figures


class SearchesSync:
    def search(self, request: zs.SearchRequest) -> list[str]:
        return ["Goethe"]


NOT_ENGINES = [
    (lambda query, k: None, "a first search failed: the search engine returned None"),
    (lambda query, k: 1 / 0, "a first search failed: the search engine raised ZeroDivisionError"),
    (lambda query, k: ["x", 3], "a first search failed: the search engine returned the document 3"),
    (lambda query: [], "a first search failed: the search engine raised TypeError.*takes 1 positional argument but 2 were given"),
    (3, "3 is not a search engine; give a function"),
    (SearchesSync(), "a first search failed: the search engine's `search` returned .* it must return a zerosearch.SearchResult"),
    ("no_such_module:search", "cannot load the engine 'no_such_module:search' .*No module named 'no_such_module'"),
    ("bm52", "unknown engine 'bm52'; did you mean 'bm25'"),
]


@pytest.mark.parametrize(("engine", "said"), NOT_ENGINES)
def test_an_engine_that_is_not_one(micro: Path, tmp_path: Path, engine: Any, said: str) -> None:
    with pytest.raises(zs.BadInput, match=said) as caught:
        trained(micro, tmp_path / "run", engine=engine)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rewrad": len}, "zerosearch.train has no argument 'rewrad'; did you mean 'reward'"),
        ({"algorithm": "gpro"}, "unknown algorithm 'gpro'"),
        (
            {"algorithm": "ppo", "rl": {**RL, "algorithm": "grpo"}},
            "algorithm = 'ppo' contradicts rl = {'algorithm': 'grpo'}; give one of them",
        ),
        ({"rl": {**RL, "stesp": 3}}, "rl.stesp.*did you mean 'rl.steps'"),
        ({"reward": "module_that_is_not_there:reward"}, "cannot load the reward .*ModuleNotFoundError: No module named"),
        ({"reward": 3}, "3 is not a reward"),
        ({"environment": object()}, "is not an environment; it needs reset"),
        ({"renderer": object()}, "is not a renderer"),
        ({"curriculum": lambda step: 2.0}, "the curriculum returned 2.0 for step 0"),
        ({"engine": None}, "say what to search"),
        ({"algorithm": 3}, "3 is not an algorithm; give a zerosearch.Algorithm"),
    ],
)
def test_a_wrong_argument_is_one_line(micro: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(zs.BadInput, match=said) as caught:
        trained(micro, tmp_path / "run", **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ([3], "question 0 is 3; give a zerosearch.Question"),
        ([{"question": ""}], "question 0 is"),
        ([FAUST[0], FAUST[0]], "two questions have the same id"),
    ],
)
def test_questions_that_are_none(questions: list[Any], said: str) -> None:
    with pytest.raises(zs.BadConfig, match=said):
        zs.evaluate(SEARCHES, questions, engine=library)


def test_what_is_left_out_or_no_dictionary(micro: Path, tmp_path: Path) -> None:
    with pytest.raises(zs.BadConfig, match="there is no question to train on; give at least one"):
        zs.train(micro / "policy", [], engine=library, out=tmp_path / "run")
    with pytest.raises(zs.BadConfig, match="say what to train with: policy= a folder or a hub id"):
        zs.train(questions=FAUST, engine=library)
    with pytest.raises(zs.BadConfig, match="say what to train with: questions= a file, or a list"):
        zs.train(micro / "policy", engine=library)
    for section in ("rl", "rollout", "run"):
        with pytest.raises(zs.BadConfig, match=f"{section} = 'x' is not a dictionary of settings"):
            recipe_of({section: "x"}, {})
    assert not (tmp_path / "run").exists()


def test_an_evaluation_s_wrong_argument() -> None:
    with pytest.raises(zs.BadConfig, match="zerosearch.evaluate has no argument 'max_turn'; did you mean 'max_turns'"):
        zs.evaluate(SEARCHES, FAUST, engine=library, max_turn=3)
    with pytest.raises(zs.BadConfig, match="zerosearch.rollout has no argument 'enviroment'; did you mean 'environment'"):
        zs.rollout("who?", SEARCHES, engine=library, enviroment=3)
    with pytest.raises(zs.RunFailed, match="none of 1 questions could be scored; .* the search engine returned None"):
        zs.evaluate(SEARCHES, FAUST, engine=lambda query, k: None)
    with pytest.raises(zs.BadConfig, match="3 is not a policy"):
        zs.evaluate(3, FAUST, engine=library)


def test_every_name_says_what_it_is() -> None:
    """`help(zs.train)` is documentation: every name of the face says what it is in its first line."""
    for name in zs.__all__:
        assert re.match(r"\S.{10,}", (getattr(zs, name).__doc__ or "").strip()), name
