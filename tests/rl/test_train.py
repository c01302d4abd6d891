"""The whole loop on real parts: tiny checkpoints, our sampler, BM25 or a simulator, a run directory, a resume."""

import asyncio
import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from aiohttp import web
from rich.console import Console
from safetensors.torch import load_file

from endpoint import serving
from micro import micro_recipe
from zerosearch.config import Recipe, load_recipe
from zerosearch.errors import BadConfig, BadInput, RunFailed
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rl.run import run_training
from zerosearch.rl.train import questions_of_step, with_advantages, with_rewards
from zerosearch.rundir import RunDirectory
from zerosearch.types import Author, Group, Question, Sampling, Span, StopReason, Trajectory

QUIET = Console(quiet=True)


def recipe_in(folder: Path, out: Path, *overrides: str, **engine: object) -> Recipe:
    file = out.parent / f"{out.name}.toml"
    file.write_text(micro_recipe(folder, **engine))
    return load_recipe(file, [f'run.out="{out}"', *overrides])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(finished_checkpoints(RunDirectory(run))[-1] / "model.safetensors")


def rows_of(run: Path) -> list[dict]:
    with gzip.open(run / "trajectories.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def timed(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def timeless(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "rollout_s", "tokens_per_s")} for row in timed(run)]


def test_a_run_leaves_everything_behind(micro: Path, tmp_path: Path) -> None:
    run_training(recipe_in(micro, tmp_path / "run"), QUIET)
    assert [row["step"] for row in timeless(tmp_path / "run")] == [1, 2, 3]
    drawn = {
        "reward",
        "em",
        "noise_rate",
        "searches",
        "kl",
        "tokens_per_s",
    }  # the report's curves; one that is not measured is left out there
    assert all(drawn <= set(row) for row in timed(tmp_path / "run"))
    assert any(row["trained_tokens"] > 0 for row in timeless(tmp_path / "run"))
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 3 * 2 * 3
    assert {span["author"] for row in rows for span in row["spans"]} == {"prompt", "policy", "environment"}
    assert any(search["documents"] for row in rows for search in row["searches"])
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 3
    assert (tmp_path / "run" / "report.html").exists()
    assert load_recipe(tmp_path / "run" / "config.toml") == recipe_in(micro, tmp_path / "run")


def test_two_runs_of_one_seed_are_equal(micro: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_training(recipe_in(micro, tmp_path / name), QUIET)
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("engine", ["bm25", "simulated"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(micro: Path, tmp_path: Path, engine: str) -> None:
    section = {
        "bm25": {"kind": "bm25", "corpus": str(micro / "corpus.jsonl")},
        "simulated": {"kind": "simulated", "model": str(micro / "simulator"), "template": "micro", "max_new_tokens": 24},
    }[engine]
    whole = recipe_in(micro, tmp_path / "whole", **section)
    run_training(whole, QUIET)
    cut = recipe_in(micro, tmp_path / "cut", **section)
    run = RunDirectory(tmp_path / "cut")
    run_training(cut, QUIET)
    newest = finished_checkpoints(run)[-1]
    newest.rename(newest.with_name(".partial-000003"))  # as if killed while writing the last checkpoint
    run.append_metrics({"kind": "train", "step": 99})  # … and with more written than was checkpointed
    run_training(RunDirectory.open(tmp_path / "cut")[1], QUIET, resume=True)
    assert timeless(tmp_path / "cut") == timeless(tmp_path / "whole")
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_is_never_overwritten(micro: Path, tmp_path: Path) -> None:
    run_training(recipe_in(micro, tmp_path / "run", "rl.steps=1"), QUIET)
    with pytest.raises(BadConfig, match="--resume"):
        run_training(recipe_in(micro, tmp_path / "run", "rl.steps=1"), QUIET)


def test_a_simulator_that_is_down_is_bad_input(micro: Path, tmp_path: Path) -> None:
    dead = {"kind": "simulated", "url": "http://127.0.0.1:9", "model": "m", "template": "micro"}
    with pytest.raises(BadInput, match=r"127\.0\.0\.1:9.*connection refused"):
        run_training(recipe_in(micro, tmp_path / "run", **dead), QUIET)
    assert not (tmp_path / "run").exists()


class Mortal:
    """Answers a number of prompts, then no more."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        self.left -= 1
        if self.left < 0:
            raise web.HTTPBadRequest(text="out of words")
        return "Doc 1: Rome is a city."


def test_a_simulator_that_dies_ends_the_run_with_its_cause(micro: Path, tmp_path: Path) -> None:
    with serving(Mortal(4)) as url, pytest.raises(RunFailed) as caught:
        section = {"kind": "simulated", "url": url, "model": "m", "template": "micro"}
        run_training(recipe_in(micro, tmp_path / "run", "rl.max_failed_share=0.0", **section), QUIET)
    said = str(caught.value)
    assert "out of words" in said and said.endswith(f"go on with: zerosearch train --resume {tmp_path / 'run'}")


def test_a_simulator_that_writes_rubbish_or_hangs_is_bad_input(micro: Path, tmp_path: Path) -> None:
    class Rubbish:
        async def complete(self, prompt: str, sampling: Sampling) -> str:
            return ""

    class Hanging:
        async def complete(self, prompt: str, sampling: Sampling) -> str:
            await asyncio.sleep(3)
            return ""

    for chat, said in ((Rubbish(), "wrote no document"), (Hanging(), "engine.timeout_s = 0.5")):
        with serving(chat) as url, pytest.raises(BadInput, match=said):
            section = {"kind": "simulated", "url": url, "model": "m", "template": "micro", "timeout_s": 0.5}
            run_training(recipe_in(micro, tmp_path / "run", **section), QUIET)
        assert not (tmp_path / "run").exists()


def test_every_question_comes_once_an_epoch() -> None:
    questions = [Question(str(i), f"q{i}", ("a",)) for i in range(7)]
    drawn = [q.id for step in range(7) for q in questions_of_step(questions, step, 3, seed=1)]
    for epoch in range(3):
        assert sorted(drawn[7 * epoch : 7 * epoch + 7]) == [str(i) for i in range(7)]
    assert drawn[:7] != drawn[7:14]
    assert drawn == [q.id for step in range(7) for q in questions_of_step(questions, step, 3, seed=1)]


def test_failures_are_neither_scored_nor_compared() -> None:
    question = Question("q", "?", ("Rome",))
    spans = (Span(Author.PROMPT, (1,), "?"),)
    right = Trajectory(question, 0, spans, (), StopReason.ANSWERED, answer="Rome")
    wrong = replace(right, sample=1, answer="Paris")
    failed = Trajectory(question, 2, spans, (), StopReason.SEARCH_FAILED, cause="down")
    group = with_advantages(with_rewards(Group(question, (right, wrong, failed)), "f1"), "grpo")
    assert [t.reward for t in group.trajectories] == [1.0, 0.0, None]
    # mean 0.5, sample standard deviation sqrt(0.5)
    assert group.trajectories[0].advantage == pytest.approx(0.5 / (0.5**0.5 + 1e-4))
    assert group.trajectories[2].advantage is None and group.trajectories[2].scores is None


def test_a_crew_of_two_does_what_one_does(micro: Path, tmp_path: Path) -> None:
    run_training(recipe_in(micro, tmp_path / "one"), QUIET)
    run_training(recipe_in(micro, tmp_path / "two", "run.workers=2"), QUIET)
    one, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
    first_one, first_two = (timeless(tmp_path / name)[0] for name in ("one", "two"))
    assert first_one["reward"] == first_two["reward"] and first_one["trained_tokens"] == first_two["trained_tokens"]
    assert first_one["loss"] == pytest.approx(first_two["loss"], abs=1e-5)
