"""From the arguments of `zerosearch.train` to a recipe and the objects that go before what it names."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from zerosearch.config.build import Given, wants_engine
from zerosearch.config.evaluation import recipe_of_policy
from zerosearch.config.recipe import Recipe, engine_table, make_recipe, read_table
from zerosearch.core.errors import BadConfig
from zerosearch.core.registry import name_of
from zerosearch.core.scoring import usable_golds
from zerosearch.core.types import Question

_SECTIONS = ("rl", "rollout", "guards", "run")


def recipe_of(arguments: Mapping[str, Any], unknown: Mapping[str, Any]) -> tuple[Given, Recipe]:
    """The objects that were given, and the complete recipe, which names each of them as well as it can.

    Raises BadConfig for an unknown argument, with the nearest one, and for a setting that is given twice.
    """
    refuse_unknown("train", unknown, [name for name in arguments if name != "unknown"])
    a = {name: value for name, value in arguments.items() if value is not None}
    table = _table(a.get("recipe"))
    policy = a.get("policy")
    if isinstance(policy, str | Path) and (before := recipe_of_policy(str(policy))) is not None:
        model, kept = before
        policy = model
        table.setdefault("rollout", kept.rollout.model_dump())
    elif (kept := getattr(policy, "recipe", None)) is not None:  # a policy that a run has trained
        table.setdefault("rollout", kept.rollout.model_dump())
    for section in _SECTIONS:
        if not isinstance(given := a.get(section, {}), Mapping):
            raise BadConfig(f"{section} = {given!r:.80} is not a dictionary of settings; give for instance rl={{'steps': 100}}.")
        table[section] = {**table.get(section, {}), **given}
    out = str(a.get("out") or table["run"].get("out") or "runs/run")
    asked, held_out = (_questions(a.get(name), f"{out}/{name}.jsonl") for name in ("questions", "held_out"))

    def say(section: str, key: str, value: Any, argument: str) -> None:
        """Put a setting where the recipe has it, unless it is there already and says something else."""
        if value is None:
            return
        there = a.get(section, {}).get(key) if section in _SECTIONS else None
        if there is not None and there != value:
            raise BadConfig(f"{argument} = {value!r:.60} contradicts {section} = {{'{key}': {there!r:.60}}}; give one of them.")
        table.setdefault(section, {})[key] = value

    say("policy", "model", None if policy is None else name_of(str(policy) if isinstance(policy, Path) else policy), "policy")
    say("questions", "train", asked[0], "questions")
    say("questions", "held_out", held_out[0], "held_out")
    say("run", "out", str(a["out"]) if "out" in a else None, "out")
    for section, key, argument in (
        ("rl", "algorithm", "algorithm"),
        ("curriculum", "schedule", "curriculum"),
        ("rollout", "environment", "environment"),
        ("rollout", "renderer", "renderer"),
    ):
        say(section, key, name_of(a[argument]) if argument in a else None, argument)
    if "reward" in a:
        reward = a["reward"]
        say("rl", "reward", dict(cast(Mapping[str, float], reward)) if isinstance(reward, Mapping) else name_of(reward), "reward")
    trackers = _trackers(a.get("trackers"))
    say("run", "trackers", ",".join(trackers) if trackers else None, "trackers")
    engine, evaluation_engine = a.get("engine"), a.get("evaluation_engine")
    if engine is None and "engine" not in table and "environment" in a and not wants_engine(a["environment"]):
        engine = a["environment"]  # it has one of its own, or needs none
    if evaluation_engine is None and "held_out" in a and "evaluation_engine" not in table:
        evaluation_engine = engine
    for section, chosen in (("engine", engine), ("evaluation_engine", evaluation_engine)):
        if chosen is not None:
            table[section] = engine_table(chosen)
    for section, key, what in (("policy", "model", "a folder or a hub id"), ("questions", "train", "a file, or a list of Question")):
        if key not in table.get(section, {}):
            raise BadConfig(f"say what to train with: {section}= {what}.")
    if "engine" not in table:
        raise BadConfig("say what to search: engine= a function (query, k) -> documents, an engine, or a dict such as {'kind': 'bm25', …}.")

    def given(value: Any) -> Any:
        return None if isinstance(value, str | Path | Mapping) or value is None else value

    own = engine is a.get("environment")
    return Given(
        policy=given(policy),
        questions=asked[1],
        held_out=held_out[1],
        engine=None if own else given(engine),
        evaluation_engine=None if own else given(evaluation_engine),
        environment=given(a.get("environment")),
        renderer=given(a.get("renderer")),
        reward=given(a.get("reward")),
        algorithm=given(a.get("algorithm")),
        curriculum=given(a.get("curriculum")),
        trackers={name: tracker for name, tracker in trackers.items() if not isinstance(tracker, str)},
    ), make_recipe(table)


def refuse_unknown(function: str, unknown: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises BadConfig for the first argument that nobody knows, with the nearest one."""
    known = sorted(known)
    for name in unknown:
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from: {', '.join(known)}."
        raise BadConfig(f"zerosearch.{function} has no argument '{name}'; {hint}")


def questions_of(given: Any) -> list[Question]:
    """Questions from a list: of Question, of dicts with `question` and `golden_answers`, or of texts, which have no golden answer.

    Raises BadConfig, with the position, for anything else, and for two questions with one id.
    """
    questions: list[Question] = []
    for i, one in enumerate(given):
        if isinstance(one, Mapping):
            row = cast(Mapping[str, Any], one)
            golds = row.get("golden_answers", ())
            rest = {key: value for key, value in row.items() if key not in ("id", "question", "golden_answers")}
            golds = (golds,) if isinstance(golds, str) else tuple(golds)
            one = Question(str(row.get("id", i)), str(row.get("question", "")), golds, rest)
        elif isinstance(one, str):
            one = Question(str(i), one, ())
        if not isinstance(one, Question) or not one.text:
            raise BadConfig(f"question {i} is {one!r:.80}; give a zerosearch.Question, or a dict with 'question' and 'golden_answers'.")
        if one.golden_answers:
            usable_golds(one.golden_answers)
        questions.append(one)
    if len({q.id for q in questions}) < len(questions):
        raise BadConfig("two questions have the same id; ids must be unique.")
    return questions


def _questions(given: Any, file: str) -> tuple[str | None, Sequence[Question] | None]:
    """(the file a recipe names, the questions where they were handed over)."""
    if given is None:
        return None, None
    if isinstance(given, str | Path):
        return str(given), None
    return file, questions_of(given)


def _trackers(given: Any) -> dict[str, Any]:
    """Trackers by name, from one or several of: a name, an object, a function."""
    if given is None:
        return {}
    several = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    return {name_of(one): one for one in (several if isinstance(several, list | tuple) else [several])}


def _table(recipe: Any) -> dict[str, Any]:
    if recipe is None:
        return {}
    if isinstance(recipe, Mapping):
        return {section: dict(values) for section, values in cast(Mapping[str, Any], recipe).items()}
    return read_table(recipe)
