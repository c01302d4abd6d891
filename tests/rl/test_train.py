"""The whole loop on real parts: tiny checkpoints, our sampler, BM25 or a simulator, a run directory, a resume."""

import asyncio
import gzip
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from aiohttp import web
from rich.console import Console
from safetensors.torch import load_file

from endpoint import serving
from full_disk import files_no_larger_than
from micro import micro_recipe
from zerosearch.api.training import run_training
from zerosearch.config.recipe import Recipe, load_recipe, open_run
from zerosearch.core.errors import BadConfig, BadInput, RunFailed
from zerosearch.core.rewards import reward_function
from zerosearch.core.types import (
    Author,
    Document,
    Group,
    Quality,
    Question,
    Sampling,
    SearchRecord,
    SearchResult,
    Span,
    StopReason,
    Trajectory,
)
from zerosearch.rl.algorithms import ALGORITHMS
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rl.rollouts import answers_in_documents, with_rewards
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.train import QuestionOrder
from zerosearch.rl.training_examples import TokenEstimates, make_examples
from zerosearch.runs.directory import RunDirectory

QUIET = Console(quiet=True)


def recipe_in(folder: Path, out: Path, *overrides: str, **engine: object) -> Recipe:
    file = out.parent / f"{out.name}.toml"
    file.write_text(micro_recipe(folder, **engine))
    return load_recipe(file, [f'run.out="{out}"', *overrides])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(finished_checkpoints(RunDirectory(run))[-1] / "model.safetensors")


def lose_last_checkpoint(run: Path) -> None:
    """As if the run had been killed while it wrote its last checkpoint. It ended there: what goes on has one step to make again."""
    newest = finished_checkpoints(RunDirectory(run))[-1]
    newest.rename(newest.with_name(newest.name.replace("step-", ".partial-")))


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
    run = RunDirectory(tmp_path / "run")
    run_training(recipe_in(micro, run.path, **section), QUIET)
    steps, rows, whole = timeless(run.path), rows_of(run.path), weights(run.path)
    lose_last_checkpoint(run.path)
    run.append_metrics({"kind": "train", "step": 99})  # … and with more written than was checkpointed
    run_training(open_run(run.path)[1], QUIET, resume=True)
    assert timeless(run.path) == steps and rows_of(run.path) == rows
    resumed = weights(run.path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on(micro: Path, tmp_path: Path) -> None:
    recipe = recipe_in(micro, tmp_path / "run", "rl.steps=2")
    with files_no_larger_than(1_000_000), pytest.raises(RunFailed) as caught:  # the weights need 1.4 MB
        run_training(recipe, QUIET)
    said = str(caught.value)
    assert said.startswith(f"cannot write {tmp_path / 'run' / 'checkpoints' / 'step-000001'} (") and "\n" not in said
    assert said.endswith(f"free the disk, then resume with: zerosearch train --resume {tmp_path / 'run'}")
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    run_training(recipe, QUIET, resume=True)
    assert [row["step"] for row in timeless(tmp_path / "run")] == [1, 2]


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
    assert "out of words" in said and said.endswith(f"resume with: zerosearch train --resume {tmp_path / 'run'}")


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


def questions_by_definition(questions: list[Question], step: int, count: int, seed: int) -> list[Question]:
    """What `QuestionOrder` must give, written down without a thought for speed: the whole order anew for every question."""
    chosen: list[Question] = []
    for position in range(step * count, (step + 1) * count):
        epoch, index = divmod(position, len(questions))
        order = list(range(len(questions)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        chosen.append(questions[order[index]])
    return chosen


def test_every_question_comes_once_an_epoch() -> None:
    questions = [Question(str(i), f"q{i}", ("a",)) for i in range(7)]
    order = QuestionOrder(questions, seed=1)
    drawn = [q.id for step in range(7) for q in order.of_step(step, 3)]
    for epoch in range(3):
        assert sorted(drawn[7 * epoch : 7 * epoch + 7]) == [str(i) for i in range(7)]
    assert drawn[:7] != drawn[7:14]


@pytest.mark.parametrize(("size", "count"), [(7, 3), (7, 7), (2, 5), (1, 4), (101, 64)])
@pytest.mark.parametrize("seed", [0, 5])
def test_questions_are_those_of_the_definition_from_whatever_step(size: int, count: int, seed: int) -> None:
    questions = [Question(str(i), f"q{i}", ("a",)) for i in range(size)]
    order = QuestionOrder(questions, seed)
    for step in (*range(9), 4, 0):  # a resume begins anywhere
        assert order.of_step(step, count) == questions_by_definition(questions, step, count, seed)


def test_questions_of_a_step_cost_one_shuffle_an_epoch() -> None:
    """170,000 questions, 64 a step, the epoch's shuffle shared among the steps measured: the figure aimed at is below 20 ms a step."""
    order = QuestionOrder([Question(str(i), "?", ("a",)) for i in range(170_000)], seed=3)
    started = time.perf_counter()
    for step in range(20):
        order.of_step(step, 64)
    step_s = (time.perf_counter() - started) / 20
    print(f"questions of a step, of 170,000: {1000 * step_s:.2f} ms")
    assert step_s < 0.05  # sixty-four shuffles in the first step take 0.1


def test_failures_are_neither_scored_nor_compared() -> None:
    question = Question("q", "?", ("Rome",))
    spans = (Span(Author.PROMPT, (1,), "?"),)
    right = Trajectory(question, 0, spans, (), StopReason.ANSWERED, answer="Rome")
    wrong = replace(right, sample=1, answer="Paris")
    failed = Trajectory(question, 2, spans, (), StopReason.SEARCH_FAILED, cause="down")
    rewarded = with_rewards(Group(question, (right, wrong, failed)), reward_function("f1"))
    (group,), _, _ = make_examples([[(t, TokenEstimates()) for t in rewarded.trajectories]], RLConfig(), ALGORITHMS["grpo"])
    assert [t.reward for t in group.trajectories] == [1.0, 0.0, None]
    # mean 0.5, sample standard deviation sqrt(0.5)
    assert group.trajectories[0].advantage == pytest.approx(0.5 / (0.5**0.5 + 1e-4))
    assert group.trajectories[2].advantage is None and group.trajectories[2].scores is None


def test_two_workers_do_what_one_does(micro: Path, tmp_path: Path) -> None:
    run_training(recipe_in(micro, tmp_path / "one"), QUIET)
    run_training(recipe_in(micro, tmp_path / "two", "run.workers=2"), QUIET)
    one, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
    first_one, first_two = (timeless(tmp_path / name)[0] for name in ("one", "two"))
    assert first_one["reward"] == first_two["reward"] and first_one["trained_tokens"] == first_two["trained_tokens"]
    assert first_one["loss"] == pytest.approx(first_two["loss"], abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        ("rl.algorithm=ppo", "rl.critic_warmup_steps=1", "rl.kl_in=reward"),
        ("rl.algorithm=ppo", "rl.epochs=2", "policy.dtype=bfloat16"),
        ("rl.algorithm=reinforce", "rl.schedule=cosine", "curriculum.schedule=adaptive", "curriculum.target=0.05"),
        ("rl.algorithm=gspo", "rl.importance_cap=2.0", "rl.epochs=2", "rl.reward={f1=1.0, format=0.1}"),
        ("policy.dtype=bfloat16", "rl.gradient_checkpointing=true"),
        ("guards.max_kl=1e-9", "guards.on_kl=rollback"),
    ],
    ids=lambda settings: settings[0],
)
def test_every_kind_of_run_resumes_bit_by_bit(micro: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    # no BM25: it searches in a thread, and what the sampler batches when, and so the last bit of a log-prob, would hang on the clock
    engine = {"kind": "simulated", "model": str(micro / "simulator"), "template": "micro", "max_new_tokens": 24}
    run = tmp_path / "run"
    run_training(recipe_in(micro, run, *settings, **engine), QUIET)
    steps, whole = timeless(run), weights(run)
    lose_last_checkpoint(run)
    run_training(open_run(run)[1], QUIET, resume=True)
    resumed = weights(run)
    assert timeless(run) == steps and all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_two_workers_with_a_critic(micro: Path, tmp_path: Path, kl_in: str) -> None:
    """The critic lies in shared memory as the policy does: two estimate values, or give them with what they sample, as one does."""
    for name, workers in (("one", 1), ("two", 2)):
        run_training(recipe_in(micro, tmp_path / name, "rl.algorithm=ppo", f"rl.kl_in={kl_in}", f"run.workers={workers}"), QUIET)
        assert all(row["value_mismatch"] < 1e-5 for row in timeless(tmp_path / name)) and timeless(tmp_path / name)[-1]["value"] > 1e-3
    one, other = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
    for a, b in zip(timeless(tmp_path / "one"), timeless(tmp_path / "two"), strict=True):
        assert a["value"] == pytest.approx(b["value"], abs=1e-4) and a["loss"] == pytest.approx(b["loss"], abs=1e-3)


def test_a_guard_skips_and_says_so(micro: Path, tmp_path: Path) -> None:
    before = load_file(micro / "policy" / "model.safetensors")
    run_training(recipe_in(micro, tmp_path / "run", "guards.min_entropy=100", "guards.on_entropy=skip"), QUIET)
    rows = timeless(tmp_path / "run")
    assert any(row.get("action") == "skip" and "entropy" in row["alarm"] and row["skipped_updates"] for row in rows)
    after = weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in after)


def test_a_guard_rolls_back(micro: Path, tmp_path: Path) -> None:
    """KL is 0 at the first update and above the limit at the second, whose step goes back to the weights of the step before."""
    run_training(recipe_in(micro, tmp_path / "run", "guards.max_kl=1e-9", "guards.on_kl=rollback", "rl.minibatches=1"), QUIET)
    rows = timeless(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert any(row.get("action") == "rollback" and "kl" in row["alarm"] for row in rows)


def test_a_guard_stops(micro: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="a guard stopped the run at step 1: policy_tokens = .* is above 1; lower"):
        run_training(recipe_in(micro, tmp_path / "run", "guards.max_policy_tokens=1", "guards.on_length=stop"), QUIET)
    assert timeless(tmp_path / "run")[0]["action"] == "stop"


def test_answers_in_documents_by_what_was_drawn() -> None:
    def searched(gold: str, *found: tuple[Quality, str]) -> Trajectory:
        searches = tuple(
            SearchRecord(i, "q", SearchResult((Document("other"), Document(text)), quality)) for i, (quality, text) in enumerate(found)
        )
        return Trajectory(Question("1", "?", (gold,)), 0, (), searches, StopReason.ANSWERED)

    useful, noisy = Quality.USEFUL, Quality.NOISY
    rollouts = [
        searched("Rome", (useful, "it is Rome"), (noisy, "it is Paris"), (useful, "nothing")),
        searched("Oslo", (noisy, "in Oslo, perhaps"), (noisy, "in Bergen")),
        searched("yes", (noisy, "yes, of course")),  # a yes stands in any text
    ]
    assert answers_in_documents(rollouts) == {"answer_leak": pytest.approx(1 / 3), "answer_given": 0.5}
    assert answers_in_documents([searched("Rome")]) == {}
