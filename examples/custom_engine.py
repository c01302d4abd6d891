"""Your own search engine: one function from a query to documents. Train with it, then evaluate with it.

python examples/custom_engine.py
"""

import json
import sqlite3

import zerosearch as zs
from zerosearch.lab.tiny import tiny_world

world = tiny_world("runs/tiny")  # a policy of 0.3M parameters, questions and passages, made in seconds
PASSAGES = [(p["title"], p["text"]) for p in map(json.loads, (world / "corpus.jsonl").read_text().splitlines())]


def search(query: str, k: int) -> list:
    """SQLite's full-text search. It may be async as well; documents are texts, dicts with title and text, or `zs.Document`."""
    with sqlite3.connect(":memory:") as table:
        table.execute("create virtual table passages using fts5(title, text)")
        table.executemany("insert into passages values (?, ?)", PASSAGES)
        words = " OR ".join(f'"{word}"' for word in query.replace('"', " ").split())
        rows = table.execute("select title, text from passages where passages match ? order by rank limit ?", (words, k)) if words else []
        return [{"title": title, "text": text} for title, text in rows]


BUDGETS = {"prompt": "micro", "max_turns": 3, "max_turn_tokens": 24, "max_observation_tokens": 60, "max_tokens": 200}
RL = {"steps": 4, "questions_per_step": 4, "group_size": 4, "learning_rate": 1e-3}
run = zs.train(
    world / "policy", world / "questions.jsonl", engine=search, rl=RL, rollout=BUDGETS, run={"workers": 2}, out="runs/custom_engine"
)
print(f"reward {run.metrics[0]['reward']:.2f} -> {run.metrics[-1]['reward']:.2f}")
print("exact match", zs.evaluate(run.policy, world / "questions.jsonl", engine=search, limit=20).em)
