"""The simulator's page: its card, and for one query what it wrote as useful and as noisy, and what the real engine found."""

from collections.abc import Sequence
from typing import Any

from zerosearch.viewer.conversations import documents_marked
from zerosearch.viewer.run_files import Record, mapping, mappings, number_or_none, read_json, text_of, texts
from zerosearch.viewer.run_view import Run
from zerosearch.viewer.summary_tables import label

_SHOWN = 12


def simulator(runs: Sequence[Run]) -> dict[str, Any]:
    """A card per run, each with its examples."""
    return {"cards": [_card(run) for run in runs]}


def _card(run: Run) -> dict[str, Any]:
    card = read_json(run.path / "card.json") or mapping(run.summary.get("simulator"))
    figures = mapping(card.get("figures")) or card
    examples = mappings(card.get("examples"))
    shown = [_example(example) for example in examples[:_SHOWN]] if examples else _from_rollouts(run)
    engine = mapping(run.config.get("engine"))
    return {
        "key": run.key,
        "engine": text_of(engine.get("model")) or text_of(engine.get("url")) or text_of(engine.get("kind")),
        "figures": [row for name, value in figures.items() if (row := _figure(name, value))],
        "from": "the card" if examples else "rollouts",
        "examples": shown,
    }


def _figure(name: str, value: object) -> dict[str, Any] | None:
    interval = mapping(value)
    mean = number_or_none(interval.get("mean", value))
    if mean is None or name == "n":
        return None
    low, high, n = (number_or_none(interval.get(key)) for key in ("low", "high", "n"))
    return {"label": label(name), "value": mean, "low": low, "high": high, "n": n, "is_share": 0 <= mean <= 1 and "per" not in name}


def _example(example: Record) -> dict[str, Any]:
    golds = texts(example.get("golden_answers"))
    replies = {who: documents_marked(example.get(who), golds) for who in ("useful", "noisy", "real") if isinstance(example.get(who), list)}
    return {"question": text_of(example.get("question")), "query": text_of(example.get("query")), "golds": golds, "replies": replies}


def _from_rollouts(run: Run) -> list[dict[str, Any]]:
    """Queries made twice for a question, once drawn useful and once noisy."""
    found: list[dict[str, Any]] = []
    for row in run.index.contrasts(_SHOWN):
        example: Record = {"query": row["query"]}
        for quality in ("useful", "noisy"):
            n, turn = divmod(row[quality], 64)
            record = run.index.record(n) or {}
            question = mapping(record.get("question"))
            example |= {"question": question.get("text"), "golden_answers": question.get("golden_answers")}
            searches = mappings(record.get("searches"))
            example[quality] = searches[turn].get("documents") if turn < len(searches) else []
        found.append(_example(example))
    return found
