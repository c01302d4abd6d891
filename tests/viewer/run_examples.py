"""A synthetic run directory, shaped like the quickstart's: 120 steps, an evaluation every 20, trajectories in gzip members."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

PEOPLE = ("Tabo Lirin", "Mesa Kolun", "Rivo Danek", "Sanu Obari")
CITIES = ("Velmar", "Ostin", "Karda", "Lunosh")
COUNTRIES = ("Brenia", "Dolvia", "Ushana", "Terrano")


def trajectory(step: int, sample: int, phase: str, rng: random.Random) -> dict[str, Any]:
    """Two hops: the city of a person, then its country. Late ones are mostly right; a few engines fail."""
    i = rng.randrange(4)
    gold, failed = COUNTRIES[i], rng.random() < 0.01
    right = rng.random() < 0.15 + 0.6 * step / 120
    answer = gold if right else rng.choice([c for c in COUNTRIES if c != gold])
    quality = None if phase == "evaluate" else rng.choice(("useful", "noisy"))
    queries = [f"{PEOPLE[i]} city of birth", f"{CITIES[i]} country"]
    facts = [f"{PEOPLE[i]} was born in {CITIES[i]}, a harbour town.", f"{CITIES[i]} is a city in {gold}."]
    spans: list[dict[str, Any]] = [
        {
            "author": "prompt",
            "text": f"Answer the question. You may think, then search or answer.\nQuestion: in which country was {PEOPLE[i]} born?\n",
        }
    ]
    searches: list[dict[str, Any]] = []
    for turn, (query, fact) in enumerate(zip(queries, facts, strict=True)):
        thought = "I need to know where this person was born." if turn == 0 else "Now I need the country of that city."
        spans.append({"author": "policy", "text": f"<think>{thought}</think>\n<search>{query}</search>"})
        documents = [{"id": f"d{k}", "title": CITIES[k], "text": fact if k == 0 else "The town has a market on Fridays."} for k in range(3)]
        searches.append({"turn": turn, "query": query, "quality": quality, "remark": "3 documents instead of 5", "documents": documents})
        if failed:
            break
        lines = "\n".join(f"Doc {k}(Title: {d['title']}) {d['text']}" for k, d in enumerate(documents, start=1))
        spans.append({"author": "environment", "text": f"\n\n<information>{lines}</information>\n\n"})
    if not failed:
        spans.append({"author": "policy", "text": f"<think>It is in {answer}.</think>\n<answer>{answer}</answer>"})
    for span in spans:
        span["token_ids"] = list(range(len(span["text"].split())))
        span["logprobs"] = [-0.5] * len(span["token_ids"]) if span["author"] == "policy" else []
    score = float(right)
    return {
        "step": step,
        "phase": phase,
        "question": {"id": f"q{step}-{sample // 4}", "text": f"In which country was {PEOPLE[i]} born?", "golden_answers": [gold]},
        "sample": sample,
        "spans": spans,
        "searches": searches,
        "stop_reason": "search_failed" if failed else "answered",
        "cause": "connection refused after 3 tries" if failed else "",
        "answer": None if failed else answer,
        "scores": None if failed else {"em": score, "cover_em": score, "f1": score},
        "reward": None if failed else score,
        "advantage": None if failed else score - 0.4,
    }


def metrics(rng: random.Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(0, 121):
        skill = 0.07 + 0.6 / (1 + math.exp(-(step - 55) / 14))
        if step:
            planned = (4 ** (step / 120) - 1) / 3 * 0.5
            row = {
                "kind": "train", "step": step, "reward": skill + rng.gauss(0, 0.05), "em": skill - 0.03 + rng.gauss(0, 0.05),
                "f1": skill + rng.gauss(0, 0.05), "noise_rate": planned, "noise_drawn": max(0.0, planned + rng.gauss(0, 0.04)),
                "searches": 1.1 + 0.8 * step / 120 + rng.gauss(0, 0.05), "malformed_share": 0.3 * math.exp(-step / 20),
                "failed": 0, "kl": 0.02 * math.log1p(step) + rng.gauss(0, 0.004), "entropy": 1.6 - skill + rng.gauss(0, 0.03),
                "loss": rng.gauss(0, 0.02), "grad_norm": 0.6 + rng.random() / 3, "tokens_per_s": 2400 + rng.gauss(0, 160),
                "seconds": 2.1 + rng.random() / 2, "policy_tokens": 4000 + rng.randrange(500), "peak_memory_mb": 812.5,
            }  # fmt: skip
            rows.append(row)
        if step % 20 == 0:
            by_type = {"one_hop": {"em": min(1.0, skill + 0.12), "n": 128}, "two_hop": {"em": skill - 0.05, "n": 128}}
            scores = {"em": interval(skill), "f1": interval(skill + 0.04), "cover_em": interval(skill + 0.02)}
            rows.append({"kind": "evaluate", "step": step, **scores, "n": 256, "searches": 1.5, "by_type": by_type})
    return rows


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.06, "high": mean + 0.06}


SUMMARY: dict[str, Any] = {
    "seed": 0,
    "wall_s": 332.4,
    "phases": {"base": 92.1, "simulator": 51.0, "policy_demonstrations": 6.5, "training": 161.2, "evaluation": 21.6},
    "base": {"em": interval(0.332), "em_one_hop": interval(0.451), "em_two_hop": interval(0.213), "em_sampled": 0.07, "n": 256},
    "trained": {"em": interval(0.711), "em_one_hop": interval(0.79), "em_two_hop": interval(0.632), "em_sampled": 0.651, "n": 256},
    "simulator": {
        "answer_in_useful": 0.94,
        "answer_in_noisy": 0.03,
        "answer_off_target": 0.02,
        "documents_per_reply": 4.97,
        "malformed_share": 0.004,
    },
    "versions": {"zerosearch": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
}


def write_run(run_dir: Path) -> Path:
    """Fill `run_dir` as a finished quickstart would."""
    rng = random.Random(0)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.toml").write_text('seed = 0\nalgorithm = "grpo"\n\n[curriculum]\nkind = "paper"\nstart = 0.0\nend = 0.5\n')
    (run_dir / "summary.json").write_text(json.dumps(SUMMARY))
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics(rng)))
    with (run_dir / "trajectories.jsonl.gz").open("wb") as file:
        for step in range(0, 121, 5):
            phase = "evaluate" if step % 20 == 0 else "train"
            member = "".join(json.dumps(trajectory(step, sample, phase, rng)) + "\n" for sample in range(16))
            file.write(gzip.compress(member.encode()))
    return run_dir
