"""A tiny world on disk, made in seconds: for examples and for tests. Its policy knows the tags and little else; everything else is real."""

import random
from dataclasses import replace
from pathlib import Path

from zerosearch.lab.base_model import build_model
from zerosearch.lab.language import PIECES, Names, make_tokenizer
from zerosearch.lab.streams import Sample, Sloppiness, demonstration
from zerosearch.lab.world import World, write_corpus, write_questions
from zerosearch.models.sft import Schedule, fit, micro_optimizers

SIZES = {"person": 12, "city": 8, "country": 5, "film": 6, "company": 6}


def tiny_world(folder: str | Path) -> Path:
    """`corpus.jsonl`, `questions.jsonl` and the checkpoints `policy` and `simulator` in `folder`, which is returned; made once.

    Any part of a person's name scores a little, so that rewards differ from the first step on and the policy can learn.
    """
    folder = Path(folder)
    if (folder / "questions.jsonl").exists():  # written last
        return folder
    world, tokenizer = World("train", 1, SIZES), make_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    always_searches = Sloppiness(searches=1.0, queries_well=1.0, second_hop=0.0, breaks_format=0.0)

    def batch_of(step: int) -> list[Sample]:
        rng = random.Random(step)
        return [demonstration(rng, Names(rng), k=1, sloppy=always_searches) for _ in range(4)]

    for name, steps in (("policy", 40), ("simulator", 1)):
        model = build_model(len(tokenizer), seed=1)
        fit(model, tokenizer, batch_of, micro_optimizers(model, 0.02, 8e-3), Schedule(steps))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    write_corpus(folder / "corpus.jsonl", world.documents)
    first, last, _ = PIECES["person"]
    easy = [replace(q, question=replace(q.question, golden_answers=(*first, *last))) for q in world.questions]
    write_questions(folder / "questions.jsonl", easy)
    return folder
