"""The study's page: a table per claim, the arms' figures, what was run and what was not, and two pictures; all made from `study.json`.

python -m zerosearch.lab.study_page docs/study.json docs      writes docs/study.md and docs/study-*.svg again
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

from zerosearch.core.statistics import t_interval
from zerosearch.data.files import write_atomically, writing
from zerosearch.lab.claim_rows import claim_rows
from zerosearch.lab.claims import ARMS, CLAIMS, OURS, Beats, Moves
from zerosearch.lab.findings import SMALLEST_EFFECT, Finding, all_findings
from zerosearch.lab.plots import Interval, PlotLine, curves, intervals

_COMMAND = "zerosearch study --seeds 5 --out runs/study"
_TITLE = "The study: the paper's claims in the micro world"
_RULE = f"""
    Differences are taken seed by seed; intervals are Student's t, 95%, over seeds. *Replicates*: the whole interval
    is on the claimed side. *Does not*: all of it is below {SMALLEST_EFFECT:g} (or beyond the stated margin), so that an effect worth
    having is ruled out. *Not decidable at this scale*: anything else, or fewer than three seeds. The paper's figures are EM averages
    over seven question sets, in points; at most their direction carries over to a model of 0.34M parameters."""


def write_page(data: Mapping[str, Any], out: Path) -> None:
    """Write study.json, study.md and the pictures into `out`."""
    with writing(out):
        for name, text in pages(data).items():
            write_atomically(out / name, text)


def whole(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of study.json: the figures of `findings.collect` and all that follows from them, replacing what `data` had."""
    rule = " ".join(_RULE.replace("*", "").split())
    return {"title": _TITLE, "about": rule, **data, "claims": claim_rows(data, all_findings(data))}


def _as_text(data: Mapping[str, Any]) -> str:
    """JSON with a line per claim and a line per run: a repository shows what changed."""
    heads = {key: value for key, value in data.items() if key not in ("claims", "arms", "cards")}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in heads.items()]
    lines.append('"claims": [\n' + ",\n".join(map(json.dumps, data["claims"])) + "]")
    for part in ("arms", "cards"):
        rows = [
            f"{json.dumps(name)}: {{\n" + ",\n".join(f"{json.dumps(seed)}: {json.dumps(run)}" for seed, run in runs.items()) + "}"
            for name, runs in data[part].items()
        ]
        lines.append(f"{json.dumps(part)}: {{\n" + ",\n".join(rows) + "}")
    return "{" + ",\n".join(lines) + "}\n"


def pages(data: Mapping[str, Any]) -> dict[str, str]:
    """The files of the page: name → text."""
    found = all_findings(data)
    return {
        "study.json": _as_text(whole(data)),
        "study.md": _page(data, found),
        "study-differences.svg": _differences(found),
        "study-searches.svg": _searches(data),
    }


def _page(data: Mapping[str, Any], found: Mapping[str, Sequence[Finding]]) -> str:
    scale, versions = data["scale"], data["versions"]
    runs = [run for of_arm in data["arms"].values() for run in of_arm.values()]
    hours = sum(run["seconds"] for run in runs) / 3600
    made = f"""
        Made by `zerosearch study` (a table below gives the seeds of each arm) from {len(runs)} runs
        ({hours:.1f} hours in total, two at a time with one thread each), commit
        {commits(data)}; Python {versions.get("python", "?")}, torch {versions.get("torch", "?")},
        transformers {versions.get("transformers", "?")}. `{_COMMAND}` runs what is missing. `study.json` holds every figure;
        `python -m zerosearch.lab.study_page docs/study.json docs` makes this page from it."""
    setting = f"""
        A run is {scale["steps"]} steps of {scale["questions_per_step"]} × {scale["group_size"]} rollouts, noise 0 → {scale["noise_end"]:g}.
        Held-out EM is greedy, against BM25, on {scale["held_out"]} questions about a world that no model has seen. Arms of a seed start
        from the same world, policy and simulator and differ only as the arm's row says. Changes from the quickstart (60 steps of
        12 × 12, noise to .25): shorter, for a matrix of about two hours, with no arm at a ceiling; noisier, so that curricula
        can differ. Noisy replies are not guarded, unlike in the quickstart. Arms called *long* keep the rest of its recipe."""
    lines = [f"# {_TITLE}", ""]
    for paragraph in (made, setting, f"**The rule.** {_RULE}"):
        lines += [fill(" ".join(paragraph.split()), 130, break_long_words=False, break_on_hyphens=False), ""]
    lines += ["![Differences with their intervals](study-differences.svg)", "", *_summary(found)]
    for name, claim in CLAIMS.items():
        paper = "A question of ours, not a claim of the paper" if claim.paper == OURS else f"Paper: {claim.paper}"
        lines += ["", f"## {claim.title}", "", f"`zerosearch study {name}`. {paper}.", ""]
        lines += ["| test | ours [95%] | n | verdict |", "|---|---|---|---|", *map(_row, found[name])]
        lines += [f"\n{finding.test}: {finding.note}." for finding in found[name] if finding.note]
        if any(isinstance(test, Moves) for test in claim.tests):
            lines += ["", "![Searches per rollout over the steps](study-searches.svg)"]
    return "\n".join([*lines, "", *_arms(data), "", *_cards(data)]) + "\n"


def commits(data: Mapping[str, Any]) -> str:
    """The commit of most runs, then the runs made with others: an arm, and its seeds if not all of them are."""
    runs = [(run["commit"], arm, seed) for arm, of_arm in data["arms"].items() for seed, run in of_arm.items() if run["commit"]]
    if not runs:
        return "unknown"
    most, *others = (commit for commit, _ in Counter(commit for commit, *_ in runs).most_common())
    for other in others:
        arms = {arm: [s for commit, a, s in runs if a == arm and commit == other] for _, arm, _ in runs}
        words = [arm if len(seeds) == len(data["arms"][arm]) else f"{arm} {', '.join(seeds)}" for arm, seeds in arms.items() if seeds]
        most += f", but {other} for {'; '.join(words)}"
    return most


def _summary(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """One line per claim."""
    lines = ["| claim | verdicts, test by test |", "|---|---|"]
    return lines + [f"| {CLAIMS[name].title} | {'; '.join(f.verdict for f in tests)} |" for name, tests in found.items()]


def _row(finding: Finding) -> str:
    value = finding.value
    ours = f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]".replace("-", "−") if value else "–"
    return f"| {finding.test} | {ours} | {finding.n} | **{finding.verdict}** |"


def _arms(data: Mapping[str, Any]) -> list[str]:
    lines = ["## The arms", "", "Means over seeds; EM with its 95% interval where there are two or more.", ""]
    lines += ["| arm | what differs | n | EM | one hop | two hops | T = 1 | F1 | searches |", "|---|---|---|---|---|---|---|---|---|"]
    for name, arm in ARMS.items():
        runs = list(data["arms"].get(name, {}).values())
        if not runs:
            lines.append(f"| {name} | {arm.about} | 0 | not run | | | | | |")
            continue
        ems = [run["em"] for run in runs]
        spread = t_interval(ems) if len(ems) > 1 else None
        em = f"{fmean(ems):.3f}" + (f" [{spread.low:.3f}, {spread.high:.3f}]" if spread else "")
        others = " | ".join(f"{fmean(run[key] for run in runs):.3f}" for key in ("em_one_hop", "em_two_hop", "em_sampled", "f1"))
        searches = fmean(run.get("searches_held_out", run["searches"]) for run in runs)
        lines.append(f"| {name} | {arm.about} | {len(runs)} | {em} | {others} | {searches:.2f} |")
    return lines


def _cards(data: Mapping[str, Any]) -> list[str]:
    """How good each simulator is, and how faithful to the query."""
    lines = ["## The simulators", ""]
    lines += ["Faithfulness: P(answer | useful, the query asks for it) − P(answer | useful, it asks for something else).", ""]
    lines += ["| simulator | seeds | useful | noisy | useful, off-target | faithfulness |", "|---|---|---|---|---|---|"]
    for name, cards in data["cards"].items():
        useful, noisy, off = (
            fmean(card[key] for card in cards.values()) for key in ("answer_in_useful", "answer_in_noisy", "answer_off_target")
        )
        lines.append(f"| {name} | {len(cards)} | {useful:.2f} | {noisy:.2f} | {off:.2f} | {useful - off:.2f} |")
    return lines


def _differences(found: Mapping[str, Sequence[Finding]]) -> str:
    rows = [
        Interval(finding.test, finding.value, finding.verdict)
        for name, tests in found.items()
        for test, finding in zip(CLAIMS[name].tests, tests, strict=True)
        if isinstance(test, Beats) and finding.value and not test.margin
    ]
    return intervals("Difference in held-out EM, 95% interval over seeds", rows)


def _searches(data: Mapping[str, Any]) -> str:
    seeds = [run["searches"] for run in data["arms"].get("grpo", {}).values()]
    mean = [fmean(values) for values in zip(*seeds, strict=True)]
    lines = [*(PlotLine(values, faint=True) for values in seeds), PlotLine(mean)]
    return curves("Searches per rollout while training (grpo): each seed, and the mean", lines)


if __name__ == "__main__":
    source, folder = map(Path, sys.argv[1:])
    write_page(json.loads(source.read_text()), folder)
