"""A tiny world on disk for the end-to-end tests. Its policy knows the tags and little else: answers are nonsense, all else is real."""

import random
from dataclasses import replace
from pathlib import Path

from zerosearch.lab.base_model import build_model
from zerosearch.lab.language import PIECES, Names, make_tokenizer
from zerosearch.lab.streams import Sample, Sloppiness, demonstration
from zerosearch.lab.world import World, write_corpus, write_questions
from zerosearch.models.sft import Schedule, fit, micro_optimizers

SIZES = {"person": 12, "city": 8, "country": 5, "film": 6, "company": 6}


def write_micro(folder: Path) -> dict[str, str]:
    """Files and checkpoints under `folder`: corpus, questions, policy, simulator; returns their paths by name."""
    world = World("train", 1, SIZES)
    write_corpus(folder / "corpus.jsonl", world.documents)
    # any name of a person scores a little, so that rewards differ and there is something to learn from
    first, last, _ = PIECES["person"]
    easy = [replace(q, question=replace(q.question, golden_answers=(*first, *last))) for q in world.questions]
    write_questions(folder / "questions.jsonl", easy)
    tokenizer = make_tokenizer()
    always_searches = Sloppiness(searches=1.0, queries_well=1.0, second_hop=0.0, breaks_format=0.0)

    def batch_of(step: int) -> list[Sample]:
        rng = random.Random(step)
        return [demonstration(rng, Names(rng), k=1, sloppy=always_searches) for _ in range(4)]

    for name, steps in (("policy", 40), ("simulator", 1)):
        model = build_model(len(tokenizer), seed=1)
        fit(model, tokenizer, batch_of, micro_optimizers(model, 0.02, 8e-3), Schedule(steps))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("policy", "simulator", "corpus.jsonl", "questions.jsonl")}


def micro_recipe(folder: Path, **engine: object) -> str:
    """TOML of a run of three steps on `write_micro(folder)`, by default against BM25; `engine` gives another [engine] section."""
    section = engine or {"kind": "bm25", "corpus": str(folder / "corpus.jsonl")}
    lines = "\n".join(f"{key} = {value!r}" for key, value in section.items())
    return f"""
[policy]
model = '{folder / "policy"}'
device = 'cpu'
[questions]
train = '{folder / "questions.jsonl"}'
[engine]
{lines}
[rollout]
prompt = 'micro'
max_turns = 3
max_turn_tokens = 24
max_observation_tokens = 60
max_tokens = 200
[rl]
steps = 3
questions_per_step = 2
group_size = 3
minibatches = 2
learning_rate = 1e-3
[run]
out = '{folder / "run"}'
seed = 3
workers = 1
checkpoint_every = 1
"""
