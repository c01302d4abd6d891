"""verl's own main_ppo, Ray and FSDP2 on two CPU ranks over gloo, started as a user starts it. Needs verl: `make test-verl`."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from endpoint import speaking
from micro import micro_recipe
from verl_on_cpu import environment, overrides

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed; `make test-verl` brings it")]
LIMIT_S = 300
SIMULATED = {"kind": "simulated", "template": "micro", "temperature": 0.7, "max_new_tokens": 60}


@pytest.fixture(scope="module")
def calm(micro: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro policy with logits up to 7 instead of 12. With 12 float32 alone leaves 1.2e-6 of a probability, whoever computes it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, model = tmp_path_factory.mktemp("calm"), AutoModelForCausalLM.from_pretrained(micro / "policy")
    with torch.no_grad():
        model.model.norm.weight.mul_(0.6)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(micro / "policy").save_pretrained(folder)
    return folder


def recipe(micro: Path, calm: Path, folder: Path) -> str:
    """Three steps against the simulator, noise from 0 to 1, held-out questions on BM25."""
    table = micro_recipe(micro, **SIMULATED, model=str(micro / "simulator")).replace(str(micro / "policy"), str(calm))
    held_out = f"train = '{micro / 'questions.jsonl'}'\nheld_out = '{micro / 'questions.jsonl'}'\nheld_out_limit = 4"
    table = table.replace(f"train = '{micro / 'questions.jsonl'}'", held_out).replace("workers = 1", "")
    table = table.replace("questions_per_step = 2\ngroup_size = 3", "questions_per_step = 4\ngroup_size = 4")
    table = table.replace("learning_rate = 1e-3", "learning_rate = 2e-4")
    more = f"[evaluation_engine]\nkind = 'bm25'\ncorpus = '{micro / 'corpus.jsonl'}'\n[curriculum]\nend = 1.0\n"
    file = folder / "recipe.toml"
    file.write_text(table + more)
    return str(file)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command, around = [sys.executable, "-m", "zerosearch", "train", *arguments], environment(folder / "figures.jsonl")
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(command, env=around, stdout=log, stderr=subprocess.STDOUT, text=True, cwd=folder)


def finish(process: subprocess.Popen[str], folder: Path) -> None:
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(60)
        raise
    assert code == 0, (folder / "log.txt").read_text()[-6000:]


def figures(folder: Path) -> list[dict[str, Any]]:
    """verl's own, a step each."""
    return [row["data"] for line in (folder / "figures.jsonl").read_text().splitlines() for row in [json.loads(line)]]


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["kind"] == kind]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)


def assert_sampler_agrees(folder: Path) -> None:
    differences = [row["training/rollout_probs_diff_max"] for row in figures(folder) if "training/rollout_probs_diff_max" in row]
    assert differences and max(differences) <= 1e-6


def test_grpo_with_kl_validation_checkpoints_and_a_resume(micro: Path, calm: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [
        recipe(micro, calm, tmp_path),
        *overrides(),
        f"run.out={run}",
        "run.evaluate_every=2",
        "rl.kl_coefficient=0.01",
        "rl.warmup_steps=0",
    ]
    first = start(tmp_path, *words)
    tracker = run / "checkpoints" / "latest_checkpointed_iteration.txt"
    wait_for(tracker.exists, first)
    first.send_signal(signal.SIGTERM)
    first.wait(60)
    log = (tmp_path / "log.txt").read_text()
    assert tracker.exists(), log[-6000:]
    done = int(tracker.read_text())
    assert "Traceback" in log or done < 3
    finish(start(tmp_path, "--resume", str(run)), tmp_path)
    steps = [row["step"] for row in rows(run, "train")]
    assert steps == [1, 2, 3] and tracker.read_text() == "3"
    assert {row["step"] for row in rows(run, "evaluate")} >= {3}
    resumed = figures(tmp_path)
    assert resumed[-1]["actor/kl_loss"] > 0
    assert any(row["searches"] > 0 for row in rows(run, "train")) and resumed[-1]["zerosearch/noise_rate"] > 0.3
    assert_sampler_agrees(tmp_path)
    exported = tmp_path / "hf"
    command = [sys.executable, "-m", "zerosearch", "export", "hf", str(run), "--out", str(exported)]
    subprocess.run(command, env=environment(tmp_path / "unused"), check=True, timeout=120)
    question = [sys.executable, "-m", "zerosearch", "ask", "where was Zurzan Garhan born?", "--policy", str(exported), "--prompt", "micro"]
    bm25 = ["--engine", "bm25", "--corpus", str(micro / "corpus.jsonl"), "--json", "-"]
    answer = subprocess.run([*question, *bm25], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(answer.stdout)["stop_reason"] in ("answered", "max_turns", "budget")


def test_ppo_with_a_critic(micro: Path, calm: Path, tmp_path: Path) -> None:
    words = ["rl.algorithm=ppo", "rl.steps=2", "rl.warmup_steps=0", "run.checkpoint_every=2", f"run.out={tmp_path / 'run'}"]
    finish(start(tmp_path, recipe(micro, calm, tmp_path), *overrides(), *words), tmp_path)
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [1, 2]
    assert figures(tmp_path)[-1]["critic/vf_loss"] >= 0
    assert_sampler_agrees(tmp_path)


def test_reinforce(micro: Path, calm: Path, tmp_path: Path) -> None:
    words = ["rl.algorithm=reinforce", "rl.steps=2", "rl.warmup_steps=0", "rl.kl_coefficient=0", f"run.out={tmp_path / 'run'}"]
    finish(start(tmp_path, recipe(micro, calm, tmp_path), *overrides(), *words, "run.checkpoint_every=2"), tmp_path)
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [1, 2]
    assert_sampler_agrees(tmp_path)
    report = [sys.executable, "-m", "zerosearch", "report", str(tmp_path / "run")]  # the viewer reads such a run as any other
    subprocess.run(report, env=environment(tmp_path / "unused"), check=True, timeout=120)
    assert "noise" in (tmp_path / "run" / "report.html").read_text()


def test_a_simulator_that_dies(micro: Path, tmp_path: Path) -> None:
    """Of two endpoints one dies, and the run goes on; when the other does too, it waits, then stops with a checkpoint of what is done."""
    run = tmp_path / "run"

    def steps() -> int:
        return len(rows(run, "train")) if (run / "metrics.jsonl").exists() else 0

    def documents(body: dict[str, Any]) -> str:
        return "Doc 1: Zurzan Garhan was born in Belmar"

    with ExitStack() as second, ExitStack() as first:
        urls = [stack.enter_context(speaking(documents)).url for stack in (first, second)]
        words = [f'engine.url="{" ".join(urls)}"', 'engine.model="m"', "engine.outage_s=2", "engine.timeout_s=5", "rl.max_failed_share=0"]
        more = ["rl.steps=200", "run.checkpoint_every=500", "run.evaluate_every=500", "rl.kl_coefficient=0", f"run.out={run}"]
        process = start(tmp_path, recipe(micro, micro / "policy", tmp_path), *overrides(), *words, *more)
        wait_for(lambda: steps() >= 1, process)
        first.close()
        before = steps()
        wait_for(lambda: steps() >= before + 2, process)
        assert steps() >= before + 2, (tmp_path / "log.txt").read_text()[-6000:]
        second.close()
        assert process.wait(LIMIT_S) == 1
    said = (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert said.startswith("zerosearch: ") and "none of 2 endpoints answered" in said and f"train --resume {run}" in said
    done = steps()
    assert (run / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == str(done) and done < 200
    assert (run / "checkpoints" / f"global_step_{done}" / "data.pt").exists()
