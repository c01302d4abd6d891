"""What must hold before verl is started, and what is written for it. None of it needs verl."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from pyarrow import parquet

from micro import micro_recipe
from zerosearch.cli import run as zerosearch
from zerosearch.config.recipe import Recipe, load_recipe, make_recipe
from zerosearch.core.errors import BadConfig, BadFile, BadInput
from zerosearch.core.install import pip_line
from zerosearch.data.questions import load_questions
from zerosearch.integrations.verl.launch import checkpoints_of, export_hf, require_gpus, require_same_world, require_version
from zerosearch.integrations.verl.settings import placed
from zerosearch.runs.directory import RunDirectory

EVEN = "cluster.gpus_per_node=1"  # the micro recipe has 3 rollouts per minibatch


@pytest.fixture
def recipe(micro: Path, tmp_path: Path) -> str:
    file = tmp_path / "recipe.toml"
    file.write_text(micro_recipe(micro))
    return str(file)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert zerosearch(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def of_gpus(nodes: int, gpus: int) -> Recipe:
    return make_recipe(
        {
            "policy": {"model": "m"},
            "questions": {"train": "q"},
            "engine": {"url": "http://x"},
            "cluster": {"nodes": nodes, "gpus_per_node": gpus},
        }
    )


def test_a_dry_run_prints_the_line_and_writes_nothing(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert zerosearch(["train", recipe, "engine=verl", "cluster.nodes=2", "rl.questions_per_step=32", "--dry-run", "--out", str(out)]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("python -m verl.trainer.main_ppo ") and "trainer.nnodes=2" in line and "\n" not in line
    assert f"data.train_files={out}/verl/train.parquet" in line and not out.exists()


def test_a_dry_run_of_the_embedded_trainer_is_refused(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "add engine=verl" in complaint(capsys, "train", recipe, "--dry-run")


def test_export_verl_writes_what_the_line_names(recipe: str, micro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert zerosearch(["export", "verl", recipe, EVEN, "--out", str(out)]) == 0
    assert f"sampler_kwargs.run={out}" in capsys.readouterr().out
    kept = load_recipe(out / "config.toml")
    assert kept.run.trainer == "verl" and kept.run.out == str(out)
    questions = load_questions(out / "verl" / "train.parquet")  # ours read it as they read a JSONL file
    original = load_questions(micro / "questions.jsonl")
    assert [(q.id, q.text, q.golden_answers) for q in questions] == [(q.id, q.text, q.golden_answers) for q in original]
    row = parquet.read_table(out / "verl" / "train.parquet").to_pylist()[0]
    assert row["prompt"][0]["role"] == "user" and original[0].text in row["prompt"][0]["content"]
    assert row["extra_info"] == {"index": 0, "split": "train"} and json.loads(row["metadata"]) == dict(original[0].metadata)
    assert "zerosearch.integrations.verl.loop.SearchLoop" in (out / "verl" / "agent_loop.yaml").read_text()
    assert "already holds a run" in complaint(capsys, "export", "verl", recipe, EVEN, "--out", str(out))


def test_a_step_needs_so_many_questions(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "export", "verl", recipe, EVEN, "rl.questions_per_step=100000", "--out", str(tmp_path / "run"))
    assert "verl draws a step's from one epoch" in line


def test_a_parquet_without_a_field_is_named(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow

    file = tmp_path / "bare.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"id": "1", "question": "who?"}]), file)
    line = complaint(capsys, "export", "verl", recipe, EVEN, f"questions.train={file}", "--out", str(tmp_path / "run"))
    assert "no field 'golden_answers'" in line


@pytest.mark.skipif(find_spec("verl") is not None, reason="verl is installed")
def test_without_verl_the_pip_line(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "train", recipe, "engine=verl", EVEN, "--out", str(tmp_path / "run"))
    assert pip_line("verl") in line and not (tmp_path / "run").exists()


@pytest.mark.parametrize("version", ["0.9.0", "0.8.1", "0.10.0", "1.0", "0.10.0rc1"])
def test_a_version_outside_the_range(version: str) -> None:
    with pytest.raises(BadInput, match=f"verl {version} is installed"):
        require_version(version)


@pytest.mark.parametrize("version", ["0.9.1", "0.9.2.post1", "0.9.12"])
def test_a_version_inside_the_range(version: str) -> None:
    require_version(version)


def test_fewer_gpus_than_the_recipe_asks() -> None:
    require_gpus(of_gpus(2, 8).cluster, [8.0, 0.0, 8.0])
    for nodes, gpus, found in ((1, 8, [4.0]), (2, 8, [8.0]), (1, 1, [0])):
        with pytest.raises(BadConfig, match=f"asks for {nodes} × {gpus} GPUs"):
            require_gpus(of_gpus(nodes, gpus).cluster, found)


def checkpoint(run: Path, step: int, gpus: int) -> None:
    actor = run / "checkpoints" / f"global_step_{step}" / "actor"
    actor.mkdir(parents=True)
    for rank in range(gpus):
        (actor / f"model_world_size_{gpus}_rank_{rank}.pt").touch()
    (run / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(step))


def test_a_resume_with_another_number_of_gpus(tmp_path: Path) -> None:
    checkpoint(tmp_path, 4, 8)
    require_same_world(RunDirectory(tmp_path), of_gpus(1, 8))
    with pytest.raises(BadConfig, match="was written by 8 GPUs, the recipe now asks for 16"):
        require_same_world(RunDirectory(tmp_path), of_gpus(2, 8))


def test_a_checkpoint_counts_when_verl_says_it_is_whole(tmp_path: Path) -> None:
    assert checkpoints_of(tmp_path) == []
    for step in (2, 10):
        checkpoint(tmp_path, step, 1)
    (tmp_path / "checkpoints" / "global_step_12").mkdir()
    assert [p.name for p in checkpoints_of(tmp_path)] == ["global_step_2", "global_step_10"]


@pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed; `make test-verl` brings it")
def test_what_is_no_checkpoint_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no checkpoint"):
        export_hf(tmp_path, tmp_path / "out")


def test_paths_are_made_absolute_and_names_are_not(micro: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(micro_recipe(micro))
    recipe = placed(load_recipe(file, ["run.out=somewhere", "policy.model=Qwen/Qwen2.5-3B"]))
    assert recipe.policy.model == "Qwen/Qwen2.5-3B" and recipe.rollout.prompt == "micro"
    assert recipe.run.out == str(Path.cwd() / "somewhere") and recipe.questions.train == str(micro / "questions.jsonl")
