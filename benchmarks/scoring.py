"""Scoring 5,000 transcripts: how long `zerosearch rescore` takes, and whether its EM is that of a SQuAD-style scorer on each of them.

    python benchmarks/scoring.py --json -
    python benchmarks/scoring.py --transcripts 'shared/data/trajectories/*.jsonl.gz' --json -      # real ones, repeated

Must: < 3 s, EM equal on each. Without --transcripts they are synthetic: up to two searches, 300 words of documents each, answers right,
nearly right and missing.
"""

from __future__ import annotations

import argparse
import glob
import gzip
import json
import platform
import random
import re
import string
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from zerosearch.cli.options import write_json
from zerosearch.evaluation.rescore import rescore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transcripts", default="", help="a pattern of JSONL[.gz] files with question, golden_answers, response")
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    rows = list(islice(cycle(read(options.transcripts) if options.transcripts else made_up(500)), options.n))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "transcripts.jsonl"
        file.write_text("".join(json.dumps({k: r[k] for k in ("question", "golden_answers", "response")}) + "\n" for r in rows))
        started, cpu = time.perf_counter(), time.process_time()
        report = rescore(file, with_rows=True)
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    equal = sum(ours["em"] == squad_em(theirs) for ours, theirs in zip(report["rows"], rows, strict=True))
    result = {
        "transcripts": len(rows),
        "source": options.transcripts or "made up",
        "megabytes": round(sum(len(r["response"]) for r in rows) / 1e6, 1),
        "seconds": round(wall_s, 3),
        "cpu_seconds": round(cpu_s, 3),
        "em": report["em"]["mean"],
        "em_equal": equal,
        "stored_em_equal": sum(
            "metric_score" in r and r["metric_score"]["em"] == o["em"] for r, o in zip(rows, report["rows"], strict=True)
        ),
        "must": {"seconds": 3, "em_equal": len(rows)},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    write_json(result, options.json)


def squad_em(row: dict[str, Any]) -> float:
    """An independent version of SQuAD's exact match, for the last answer outside the documents."""
    outside = re.sub(r"<information>.*?(</information>|$)", " ", row["response"], flags=re.DOTALL)
    # "between <answer> and </answer>" explains the tags
    answers = re.findall(r"<answer>((?:(?!<answer>).)*?)</answer>", outside, flags=re.DOTALL)
    answers = [" ".join(a.split()) for a in answers if a.strip() and a.strip() != "and"]
    return float(any(squad_normal(answers[-1]) == squad_normal(gold) for gold in row["golden_answers"])) if answers else 0.0


def squad_normal(text: str) -> str:
    kept = [character for character in text.lower() if character not in string.punctuation]
    words = re.sub(r"\b(a|an|the)\b", " ", "".join(kept)).split()
    return " ".join(words)


def read(pattern: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in sorted(glob.glob(pattern)):
        with gzip.open(name, "rt") if name.endswith(".gz") else open(name) as lines:
            rows += [json.loads(line) for line in lines]
    if not rows:
        print(f"scoring.py: no transcripts match '{pattern}'; omit --transcripts to use synthetic ones", file=sys.stderr)
        raise SystemExit(2)
    return rows


def made_up(count: int) -> list[dict[str, Any]]:
    rng = random.Random(0)
    rows: list[dict[str, Any]] = []
    for i in range(count):
        gold = f"The {rng.choice(['River', 'Mount', 'Lake'])} {rng.randrange(10**4)}"
        answer = rng.choice([gold, gold.lower().removeprefix("the "), f"It is {gold}.", "", "nobody knows"])
        words = " ".join(rng.choice(["stone", "water", "an", "the", "harbour", f"<answer>{gold}</answer>"]) for _ in range(300))
        turn = f"<think>{'why ' * 100}</think><search>about {i}</search>\n\n<information>Doc 1(Title: {i}) {words}</information>\n\n"
        rows.append(
            {"question": f"Question {i}?", "golden_answers": [gold], "response": turn * rng.randrange(3) + f"<answer>{answer}</answer>"}
        )
    return rows


if __name__ == "__main__":
    main()
