"""From a study's runs to verdicts: the measurements as one small table of figures, and the rule that decides each test.

The rule. A difference is taken seed by seed; its interval is Student's t, 95%, over seeds. A test *replicates* when the whole interval is
on the claimed side, *does not* when the whole interval leaves no room for an effect of 0.02 (or of the margin), and is *not decidable at
this scale* in between, or with fewer than three seeds.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zerosearch.core.statistics import Z95, Estimate, t_interval
from zerosearch.lab.claims import ARMS, CLAIMS, Beats, Claim, Follows, Moves, RarelyCollapses, Reaches, Test
from zerosearch.lab.study import NOISE_END, TUNED_SHARE, Study
from zerosearch.runs.directory import RunDirectory
from zerosearch.simulator.card import means_of

REPLICATES, DOES_NOT, OPEN, NOT_RUN = "replicates", "does not", "not decidable at this scale", "not run"
SMALLEST_EFFECT = 0.02  # two points of EM: a smaller effect would not matter
CHANGE_OF_SEARCHES = 0.1
WINDOW = 5  # steps; a single step's mean is noise
FEWEST_SEEDS = 3
FEWEST_SIMULATORS = 3  # two points always lie on a line
_KEPT = ("em", "em_one_hop", "em_two_hop", "em_sampled", "f1", "searches", "n")

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one test. `value` None: nothing was run; `note` adds what the numbers do not say."""

    test: str
    value: Estimate | None
    n: int
    verdict: str
    note: str = ""


# ---- the figures


def collect(study: Study) -> dict[str, Any]:
    """Every finished run's figures as JSON: everything that verdicts and page are made from."""
    arms: dict[str, dict[str, Any]] = {}
    for name in ARMS:
        found = {}
        for file in (study.out / "runs" / name).glob("seed-*/summary.json"):
            found[file.parent.name.removeprefix("seed-")] = _figures_of(file.parent, json.loads(file.read_text()))
        if found:
            arms[name] = dict(sorted(found.items(), key=lambda item: int(item[0])))
    cards: dict[str, dict[str, Any]] = {}
    for name in (*TUNED_SHARE, "simulator-small", "prompted"):
        for file in sorted((study.out / "seeds").glob(f"seed-*/card-{name}.json")):
            card = means_of(json.loads(file.read_text()))
            kept = {key: round(card[key], 4) for key in ("answer_in_useful", "answer_in_noisy", "answer_off_target")}
            cards.setdefault(name, {})[file.parent.name.removeprefix("seed-")] = kept
    kept = [run.pop("versions") for runs in arms.values() for run in runs.values() if "versions" in run]
    versions, scale = kept[0] if kept else {}, study.scale
    return {
        "versions": versions,
        "scale": {
            "steps": scale.rl_steps,
            "questions_per_step": scale.questions_per_step,
            "group_size": scale.group_size,
            "held_out": scale.test_questions,
            "noise_end": NOISE_END,
        },
        "arms": arms,
        "cards": cards,
    }


def _figures_of(folder: Any, summary: Mapping[str, Any]) -> dict[str, Any]:
    trained = summary["trained"]
    figures: dict[str, Any] = {key: round(trained[key], 4) for key in _KEPT if key in trained}
    figures |= {"seconds": round(summary["wall_s"]), "commit": summary.get("commit", "")}
    metrics = list(RunDirectory(folder).read_metrics())
    rows = [row for row in metrics if row["kind"] == "train"]
    if rows:
        figures["held_out"] = [round(row["em"]["mean"], 3) for row in metrics if row["kind"] == "evaluate"]
        figures["searches_held_out"] = figures["searches"]
        figures |= {key: [round(row[key], 3) for row in rows] for key in ("reward", "searches")}
        figures |= {"base_em": round(summary["base"]["em"], 4), "alarms": sum("alarm" in row for row in rows)}
        figures["versions"] = summary["versions"]
    return figures


# ---- the verdicts


def findings(claim: Claim, data: Figures) -> list[Finding]:
    return [finding(test, data) for test in claim.tests]


def finding(test: Test, data: Figures) -> Finding:
    match test:
        case Beats():
            return _beats(test, data)
        case Reaches():
            return _reaches(test, data)
        case Moves():
            return _moves(test, data)
        case Follows():
            return _follows(test, data)
        case RarelyCollapses():
            return _collapses(test, data)


def decide(value: Estimate, at_least: float, impossible_below: float) -> str:
    """The rule, for a figure claimed to lie above `at_least`."""
    if value.n < FEWEST_SEEDS:
        return OPEN
    if value.low > at_least:
        return REPLICATES
    return DOES_NOT if value.high < impossible_below else OPEN


def _by_seed(words: str, values: Sequence[float], at_least: float, impossible_below: float, note: str = "") -> Finding:
    """One value per seed, each claimed to lie above `at_least`."""
    if len(values) < 2:
        return Finding(words, None, len(values), OPEN if values else NOT_RUN)
    value = t_interval(values)
    return Finding(words, value, value.n, decide(value, at_least, impossible_below), note)


def _beats(test: Beats, data: Figures) -> Finding:
    differences = [a - b for a, b in _paired(data, test.better, test.worse)]
    words = f"{test.better} − {test.worse}" + (f", no more than {test.margin:.2f} worse" if test.margin else "")
    return _by_seed(words, differences, -test.margin, -test.margin if test.margin else SMALLEST_EFFECT)


def _reaches(test: Reaches, data: Figures) -> Finding:
    ems = [run["em"] for run in _runs(data, test.arm).values()]
    words = f"{test.arm}: EM above {test.level:.2f}"
    return _by_seed(words, ems, test.level, test.level, "by seed: " + ", ".join(f"{em:.3f}" for em in ems))


def _moves(test: Moves, data: Figures) -> Finding:
    curves = [run["searches"] for run in _runs(data, test.arm).values()]
    words = {
        "fall": "searches: first steps − lowest",
        "rise": "searches: last steps − lowest",
        "settle": "searches: last steps against those before them",
    }[test.how]
    found = _by_seed(words, [change_of(curve, test.how) for curve in curves], CHANGE_OF_SEARCHES, CHANGE_OF_SEARCHES)
    if test.how == "settle" and (value := found.value):  # claimed to be small
        flipped = Estimate(-value.mean, -value.high, -value.low, value.n)
        return replace(found, verdict=decide(flipped, -CHANGE_OF_SEARCHES, -CHANGE_OF_SEARCHES))
    return found


def change_of(curve: Sequence[float], how: str) -> float:
    """From means over windows of steps, so that no single step decides."""
    means = [statistics.fmean(curve[i : i + WINDOW]) for i in range(len(curve) - WINDOW + 1)]
    if how == "fall":
        return means[0] - min(means)
    if how == "rise":
        return means[-1] - min(means)
    return abs(means[-1] - means[-1 - WINDOW])


def _follows(test: Follows, data: Figures) -> Finding:
    pairs = faithfulness_points(test, data)
    words = "r(faithfulness, EM)"
    if len(pairs) < 5:
        return Finding(words, None, len(pairs), OPEN if pairs else NOT_RUN)
    value = correlation([x for _, _, x, _ in pairs], [y for _, _, _, y in pairs])
    simulators = {arm for arm, *_ in pairs}
    verdict = decide(value, 0.0, 0.2) if len(simulators) >= FEWEST_SIMULATORS else OPEN
    note = f"a point is one of {len(simulators)} simulators and a seed, taken as independent; faithfulness: the page's last table"
    return Finding(words, value, value.n, verdict, note)


def faithfulness_points(test: Follows, data: Figures) -> list[tuple[str, str, float, float]]:
    """(arm, seed, faithfulness, EM): how much more likely a useful reply holds the answer if the query asks for it than if it does not."""
    points: list[tuple[str, str, float, float]] = []
    for arm in test.arms:
        for seed, run in _runs(data, arm).items():
            if card := data["cards"].get(ARMS[arm].simulator, {}).get(seed):
                points.append((arm, seed, card["answer_in_useful"] - card["answer_off_target"], run["em"]))
    return points


def correlation(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Pearson's r with Fisher's interval: tanh(artanh r ± 1.96 / √(n - 3)); 0 if one side does not vary."""
    r = statistics.correlation(xs, ys) if len(set(xs)) > 1 < len(set(ys)) else 0.0
    z, half = math.atanh(max(min(r, 1 - 1e-9), -1 + 1e-9)), Z95 / math.sqrt(len(xs) - 3)
    return Estimate(r, math.tanh(z - half), math.tanh(z + half), len(xs))


def _collapses(test: RarelyCollapses, data: Figures) -> Finding:
    ends = {seed: run["held_out"][-1] / (max(run["held_out"]) or 1.0) for seed, run in _runs(data, test.arm).items()}
    words = f"runs that end below half of their best held-out EM: at most {test.allowed} of {test.runs}"
    if not ends:
        return Finding(words, None, 0, NOT_RUN)
    collapsed = sum(end < 0.5 for end in ends.values())
    note = f"{collapsed} of {len(ends)}; the worst ends at {min(ends.values()):.2f} of its best"
    decided = len(ends) >= test.runs or collapsed > test.allowed
    return Finding(words, None, len(ends), (REPLICATES if collapsed <= test.allowed else DOES_NOT) if decided else OPEN, note)


def _runs(data: Figures, arm: str) -> dict[str, Any]:
    return data["arms"].get(arm, {})


def _paired(data: Figures, a: str, b: str) -> list[tuple[float, float]]:
    runs_a, runs_b = _runs(data, a), _runs(data, b)
    return [(runs_a[seed]["em"], runs_b[seed]["em"]) for seed in runs_a if seed in runs_b]


def all_findings(data: Figures) -> dict[str, list[Finding]]:
    return {name: findings(claim, data) for name, claim in CLAIMS.items()}
