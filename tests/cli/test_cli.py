"""The command line as a user meets it: what it prints, its exit codes, and one helpful line for each wrong input."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micro import micro_recipe
from zerosearch.cli import run
from zerosearch.config.recipe import built_in_recipes, load_recipe
from zerosearch.core.version import __version__


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2 and exactly one line on stderr; returns the line."""
    assert run(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def recipe(micro: Path, tmp_path: Path) -> str:
    file = tmp_path / "recipe.toml"
    file.write_text(micro_recipe(micro))
    return str(file)


def test_rescore_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"question": "q", "golden_answers": ["Rome"], "response": "<think>x</think><answer> rome. </answer>"},
        {"question": "q", "golden_answers": ["Rome"], "response": "<information><answer>Rome</answer></information>"},
    ]
    file = tmp_path / "rollouts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["rescore", str(file), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 2 and result["em"]["mean"] == 0.5


def test_train_evaluate_ask_and_resume(micro: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["train", recipe, "rl.steps=2", "--out", str(out), "--json", str(tmp_path / "summary.json")]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["seed"] == 3
    assert run(["train", "--resume", str(out)]) == 0
    bm25 = ["--engine", "bm25", "--corpus", str(micro / "corpus.jsonl")]
    capsys.readouterr()
    assert run(["evaluate", "--benchmark", str(micro / "questions.jsonl"), "--policy", str(out), *bm25, "--limit", "5", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 5 and 0 <= result["em"]["low"] <= result["em"]["high"] <= 1
    assert run(["ask", "where was Zurzan Garhan born?", "--policy", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["stop_reason"] in ("answered", "max_turns", "budget")


WRONG = {
    "no recipe": (["train"], "give one recipe"),
    "missing recipe": (["train", "nowhere.toml"], "nowhere.toml"),
    "unknown command": (["trian"], "trian"),
    "unknown option": (["rescore", "x.jsonl", "--jsno", "-"], "--jsno"),
    "missing option": (["evaluate"], "Missing option '--benchmark'"),
    "missing argument": (["compare"], "Missing argument 'RUN…'"),
    "no number": (["evaluate", "--limit", "many"], "Invalid value for '--limit'"),
    "missing transcripts": (["rescore", "nowhere.jsonl"], "nowhere.jsonl"),
    "missing questions": (["evaluate", "--benchmark", "no.jsonl", "--policy", "x", "--corpus", "c.jsonl"], "no.jsonl"),
    "unknown engine": (["evaluate", "--benchmark", "no.jsonl", "--policy", "x", "--engine", "bm52"], "bm25"),
    "bm25 without a corpus": (["evaluate", "--benchmark", "no.jsonl", "--policy", "x", "--engine", "bm25"], "--corpus"),
    "no policy there": (["ask", "who?", "--policy", "./nowhere", "--corpus", "c.jsonl"], "nowhere"),
    "unknown recipe": (["recipes", "hotpotqa_bm52"], "hotpotqa_bm25"),
    "no recipe to write": (["recipes", "--out", "mine.toml"], "zerosearch recipes NAME --out mine.toml"),
    "no run to resume": (["train", "--resume", "nowhere"], "nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_ends_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, named = WRONG[name]
    assert named in complaint(capsys, *arguments)


WRONG_SETTINGS = {
    "rl.step=3": "rl.steps",
    "rl.steps=many": "rl.steps",
    "rl.algorithm=gpro": "grpo",
    "curriculum.schedule=papr": "paper",
    "rl.group_size=1": "group_size",
    "curriculum.end=1.5": "curriculum.end",
    "policy.model=./nowhere": "nowhere",
    "policy.model=some/where": "there is no folder 'some/where'",
    "policy.device=cdua": "cdua",
    "questions.train=nowhere.jsonl": "nowhere.jsonl",
    "engine.corpus=nowhere.jsonl": "nowhere.jsonl",
    "rl.steps": "rl.steps",
}


@pytest.mark.parametrize("setting", WRONG_SETTINGS)
def test_a_wrong_setting_ends_in_one_line_and_writes_nothing(
    setting: str, micro: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", recipe, setting] if "=" in setting else ["train", recipe, "rl.steps", setting]
    line = complaint(capsys, *words, f"run.out={tmp_path / 'run'}")
    assert WRONG_SETTINGS[setting] in line or "recipe" in line
    assert not (tmp_path / "run").exists()


def test_questions_that_are_wrong_name_file_and_line(micro: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "questions.jsonl"
    for content, named in (
        ("", "empty"),
        ('{"id": "1", "question": "q", "golden_answers": ["a"]}\n{"id":', ":2"),
        ('{"id": "1", "question": "q"}', "golden_answers"),
        ('{"id": "1", "question": "q", "golden_answers": ["---"]}', "---"),
    ):
        file.write_text(content)
        line = complaint(capsys, "train", recipe, f"questions.train={file}")
        assert str(file) in line and (named in line or "line 2" in line or "no golden answer" in line)


def test_a_resume_with_another_setting_is_refused(micro: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["train", recipe, "rl.steps=1", f"run.out={out}"]) == 0
    capsys.readouterr()
    line = complaint(capsys, "train", "--resume", str(out), "rl.learning_rate=0.5")
    assert "rl.learning_rate" in line and "0.5" in line


def test_an_output_that_cannot_be_written(micro: Path, tmp_path: Path, recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file/run" in complaint(capsys, "train", recipe, f"run.out={tmp_path / 'file' / 'run'}")


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "zerosearch", "--help"], capture_output=True, text=True, env=os.environ, check=True)
    for command in ("quickstart", "train", "evaluate", "ask", "rescore"):
        assert command in done.stdout


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"zerosearch {__version__}\n"


def test_recipes_are_listed_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {name: words for name, words in (line.split(maxsplit=1) for line in lines)}
    assert listed.keys() == built_in_recipes().keys() and listed["slurm.sbatch"].startswith("Two nodes train")
    assert run(["recipes", "hotpotqa_bm25"]) == 0
    assert capsys.readouterr().out == built_in_recipes()["hotpotqa_bm25"]
    file = tmp_path / "mine.toml"
    assert run(["recipes", "hotpotqa_bm25.toml", "--out", str(file)]) == 0
    assert load_recipe(file) == load_recipe("hotpotqa_bm25")


def test_real_rollouts_are_rescored_as_stored(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted((shared / "data" / "trajectories").glob("*.jsonl.gz")):
        assert run(["rescore", str(file), "--json", "-"]) == 0
        result = json.loads(capsys.readouterr().out)
        with gzip.open(file, "rt") as lines:
            stored = [json.loads(line)["metric_score"]["em"] for line in lines]
        assert result["n"] == len(stored) and result["em"]["mean"] == pytest.approx(sum(stored) / len(stored))
