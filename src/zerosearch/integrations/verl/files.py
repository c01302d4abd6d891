"""Questions as the parquet verl reads, and the YAML that tells it which loop to run. No verl needed."""

import json
from collections.abc import Sequence
from pathlib import Path

from zerosearch.config.recipe import Recipe, to_toml
from zerosearch.core.errors import BadConfig
from zerosearch.core.templates import fill
from zerosearch.core.types import Question
from zerosearch.data.files import new_directory
from zerosearch.data.questions import load_questions
from zerosearch.rollout.prompts import policy_prompt
from zerosearch.runs.directory import RunDirectory


def prepare(recipe: Recipe, run: RunDirectory) -> None:
    """A new run directory with what verl reads in `verl/`. Raises BadInput, before anything is written, for questions that will not do."""
    run.require_new()
    run.require_writable()
    train = load_questions(recipe.questions.train)
    if len(train) < recipe.rl.questions_per_step:
        raise BadConfig(
            f"rl.questions_per_step = {recipe.rl.questions_per_step}, but '{recipe.questions.train}' holds {len(train)} questions, "
            "and verl draws a step's from one epoch; choose at most so many."
        )
    held_out = load_questions(recipe.questions.held_out)[: recipe.questions.held_out_limit or None] if recipe.questions.held_out else []
    task = policy_prompt(recipe.rollout.prompt).task
    with new_directory(run.path / "verl", run.resume_command) as folder:
        _write_parquet(folder / "train.parquet", train, "train", task)
        if held_out:
            _write_parquet(folder / "held_out.parquet", held_out, "held_out", task)
        loop = {"name": "zerosearch", "_target_": "zerosearch.integrations.verl.loop.SearchLoop", "run": str(run.path)}
        (folder / "agent_loop.yaml").write_text("- " + "\n  ".join(f"{key}: {json.dumps(value)}" for key, value in loop.items()) + "\n")
    run.create(to_toml(recipe))


def _write_parquet(file: Path, questions: Sequence[Question], split: str, task: str) -> None:
    """A question file as ours (id, question, golden_answers), with the columns verl wants beside."""
    import pyarrow
    from pyarrow import parquet

    rows = [
        {
            "id": q.id,
            "question": q.text,
            "golden_answers": list(q.golden_answers),
            "metadata": json.dumps(dict(q.metadata)),
            "data_source": f"zerosearch/{split}",
            "prompt": [{"role": "user", "content": fill(task, {"question": q.text})}],
            "reward_model": {"style": "rule", "ground_truth": {"target": list(q.golden_answers)}},
            "extra_info": {"index": i, "split": split},
        }
        for i, q in enumerate(questions)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
