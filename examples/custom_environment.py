"""Your own environment: another grammar. Here a turn is a JSON tool call, or else the answer; the loop, the trainer and evaluation stay.

python examples/custom_environment.py
"""

import json

import zerosearch as zs
from zerosearch.lab.tiny import tiny_world


class ToolCalls:
    """{"tool": "search", "query": "..."} is a search; any other text is the answer."""

    max_turns = 3

    def __init__(self, engine: zs.SearchEngine) -> None:
        self.engine = engine

    def reset(self, question: zs.Question) -> str:
        self.question, self.turn = question, -1
        return f"Question: {question.text} Call search by JSON, or answer."

    async def step(self, text: str) -> zs.Step:
        self.turn += 1
        try:
            query = str(json.loads(text)["query"])
        except (ValueError, TypeError, KeyError):
            return zs.Step(done=True, answer=text.strip())
        found = await self.engine.search(zs.SearchRequest(query, self.question, k=3, turn=self.turn))
        return zs.Step(json.dumps([d.text for d in found.documents]), searches=(zs.SearchRecord(self.turn, query, found),))


world = tiny_world("runs/tiny")  # a policy of 0.3M parameters, questions and passages, made in seconds
engine = zs.BM25Engine(world / "corpus.jsonl")
turns = iter(['{"tool": "search", "query": "capital"}', "Stilzoum"])  # what a policy that has learnt this would write
print([s.text for s in zs.rollout("what is the capital?", lambda text: next(turns), engine=engine, environment=ToolCalls).spans])
rl, budgets = {"steps": 3, "questions_per_step": 4, "group_size": 4}, {"max_turn_tokens": 24, "max_tokens": 200}
parts = {"engine": engine, "environment": ToolCalls, "rl": rl, "rollout": budgets, "run": {"workers": 2}}
run = zs.train(world / "policy", world / "questions.jsonl", **parts, out="runs/custom_environment")
print([round(row["reward"], 2) for row in run.metrics])
