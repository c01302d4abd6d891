"""Tuning a tiny checkpoint for real, whole and by LoRA; its card, in process and behind an endpoint; what is wrong is said in a line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from endpoint import Body, said, serving, speaking
from models.tiny import byte_level, model
from zerosearch.cli import run
from zerosearch.core.errors import BadConfig
from zerosearch.core.types import Document, Question
from zerosearch.models.local import LocalModel
from zerosearch.simulator.label import by_answer, combine, write_labels
from zerosearch.simulator.searches import SearchesDirectory, SearchExample
from zerosearch.simulator.tune import Show, TuneSettings, tune

CITIES = {"Italy": "Rome", "France": "Paris", "Spain": "Madrid", "Peru": "Lima", "Chile": "Santiago", "Japan": "Tokyo"}


def searches() -> list[SearchExample]:
    """Of each question a search that misses, then one that finds."""
    found: list[SearchExample] = []
    for country, city in CITIES.items():
        question = Question(country, f"Capital of {country}?", (city,))
        for turn, text in enumerate((f"{country} is a country.", f"{city} is the capital of {country}.")):
            query = f"{country} capital" if turn else country
            found.append(
                SearchExample(f"{country}/0/{turn}", question, query, (Document(text), Document("More.")), turn, city, 1.0, 1.0, "answered")
            )
    return found


def write(folder: Path, found: list[SearchExample]) -> Path:
    directory = SearchesDirectory(folder)
    directory.begin({"from_rollouts": "x"})
    directory.write_searches(found)
    write_labels(directory, combine(found, {"answer": {f.id: by_answer(f) for f in found}}))
    return folder


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write(tmp_path / "searches", searches())
    model("llama", max_position_embeddings=2048).save_pretrained(tmp_path / "base")
    byte_level().save_pretrained(tmp_path / "base")
    return tmp_path


def command(world: Path, out: str, *more: str) -> list[str]:
    return [
        "tune", str(world / "searches"), "--model", str(world / "base"), "--out", str(world / out), "--device", "cpu", "--steps", "6",
        "--save-every", "2", "--log-every", "1", "--learning-rate", "0.01", "--held-out", "0.34", "--template", "micro", *more,
    ]  # fmt: skip


def report(world: Path, out: str) -> dict[str, Any]:
    return json.loads((world / out / "tuning.json").read_text())


def test_tune_and_card(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(world, "whole")) == 0
    tuned = report(world, "whole")
    assert (tuned["pairs"], tuned["held_out_pairs"]) == (8, 4)
    assert not set(tuned["questions"]) & set(tuned["held_out_questions"])
    assert [step for step, _ in tuned["loss"]] == [1, 2, 3, 4, 5, 6] and tuned["loss"][-1][1] < tuned["loss"][0][1]
    assert tuned["held_out_loss"][-1][1] < tuned["held_out_loss"][0][1]
    assert not (world / ".whole.tuning").exists()
    assert run(command(world, "whole")) == 2  # a finished one is not overwritten
    capsys.readouterr()

    options = ["--searches", str(world / "searches"), "--k", "2", "--max-new-tokens", "24", "--json", "-"]
    guard = ["--guard-redraws", "1", "--guarded", "noisy"]
    run(["card", str(world / "whole"), *options, *guard, "--usd-per-hour", "2", "--html", str(world / "card.html")])
    card = json.loads(capsys.readouterr().out)
    figures = card["figures"]
    assert card["template"] == "micro" and card["questions_tuned_on"] == 4
    assert figures["answer_in_useful"]["n"] == figures["answer_off_target"]["n"] == figures["answer_first_hop"]["n"] == 6
    assert (figures["answer_in_useful_seen"]["n"], figures["answer_in_useful_unseen"]["n"]) == (4, 2)
    assert figures["real_engine_first_hop"]["mean"] == figures["real_engine_off_target"]["mean"] == 0
    assert card["speed"]["searches"] == 24 and card["speed"]["new_tokens"] > 0 and card["usd_per_1000_searches"] > 0
    assert card["guard"]["redraws_allowed"] == 1 and card["guard"]["guarded"] == "noisy" and card["guard"]["replies"] > 0
    page = (world / "card.html").read_text()
    assert "answer in useful replies" in page and "With the guard" in page and "src=" not in page

    with serving(LocalModel.load(str(world / "whole"), "cpu")) as url:
        tuning = str(world / "whole" / "tuning.json")
        assert run(["card", url, *options, "--tuning", tuning]) == 0
    behind = json.loads(capsys.readouterr().out)
    assert behind["simulator"] == url and behind["figures"]["answer_in_useful_seen"]["n"] == 4


def test_a_judge_looks_at_the_card(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It finds useful whatever is not nothing; of one question it gives no verdict."""

    def simulator(body: Body) -> str:
        asked = said(body)
        city = asked.split("Gold: ")[1].split(" Query:")[0]
        return f"Doc 1: {city} is the capital." if "useful Docs:" in asked else "Doc 1: Nothing of the kind."

    def judge(body: Body) -> str:
        if "Japan" in said(body):
            return "Hard to say."
        return json.dumps({"reason": "r", "verdict": "noisy" if "Nothing of the kind" in said(body) else "useful"})

    with speaking(simulator) as endpoint, speaking(judge) as judged:
        options = ["--searches", str(world / "searches"), "--template", "micro", "--json", "-"]
        assert run(["card", endpoint.url, *options, "--judge", judged.url]) == 0
    view = json.loads(capsys.readouterr().out)["judge"]
    assert view["useful_is_useful"]["mean"] == view["noisy_is_noisy"]["mean"] == 1
    assert view["useful_is_useful"]["n"] == view["noisy_is_noisy"]["n"] == 5 and view["unjudged"] == 2


def test_lora_is_merged(world: Path) -> None:
    pytest.importorskip("peft")
    assert run(command(world, "lora", "--lora-rank", "2", "--gradient-checkpointing", "--accumulate", "2")) == 0
    assert report(world, "lora")["lora_rank"] == 2
    assert not (world / "lora" / "adapter_config.json").exists()
    LocalModel.load(str(world / "lora"), "cpu")


@pytest.mark.slow
def test_killed_it_goes_on(world: Path) -> None:
    assert run(command(world, "whole", "--steps", "60")) == 0
    started = subprocess.Popen([sys.executable, "-m", "zerosearch", *command(world, "killed", "--steps", "60")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not list((world / ".killed.tuning").glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert not (world / "killed").exists()
    assert run(command(world, "killed", "--steps", "61")) == 2  # nobody's settings
    assert run(command(world, "killed", "--steps", "60")) == 0
    assert report(world, "killed")["loss"] == report(world, "whole")["loss"]
    weights = [(world / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


MUON = ("--optimizer", "muon")


def test_muon(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(world, "muon", *MUON)) == 0
    tuned = report(world, "muon")
    assert (tuned["optimizer"], tuned["learning_rate"], tuned["batch_rows"]) == ("muon", 0.01, 24)
    assert (tuned["pairs"], tuned["held_out_pairs"]) == (8, 4)
    assert [step for step, _ in tuned["loss"]] == [1, 2, 3, 4, 5, 6] and tuned["loss"][-1][1] < tuned["loss"][0][1]
    assert [step for step, _ in tuned["held_out_loss"]] == [2, 4, 6]
    assert tuned["held_out_loss"][-1][1] < tuned["held_out_loss"][0][1]
    assert not (world / ".muon.tuning").exists()
    LocalModel.load(str(world / "muon"), "cpu")


def test_muon_killed_goes_on_at_the_step_it_had_reached(world: Path) -> None:
    class Killed(Exception):
        pass

    settings = TuneSettings(str(world / "base"), "micro", optimizer="muon", steps=6, device="cpu", held_out=0.34, save_every=2, log_every=2)
    quiet, seen = Console(quiet=True), list[int]()
    whole = tune(world / "searches", settings, world / "whole", quiet)

    def killed_after(step: int) -> Show:
        def show(done: int, total: int, figures: Mapping[str, object]) -> None:
            seen.append(done)
            if done == step:
                raise Killed

        return show

    for step in (3, 5):
        with pytest.raises(Killed):
            tune(world / "searches", settings, world / "killed", quiet, killed_after(step))
    with pytest.raises(BadConfig, match="was begun with seed = 0, but it is now 1"):
        tune(world / "searches", replace(settings, seed=1), world / "killed", quiet)
    killed = tune(world / "searches", settings, world / "killed", quiet, killed_after(0))
    assert seen == [1, 2, 3, 3, 4, 5, 5, 6]  # a step counts when it is saved
    assert killed == whole
    weights = [(world / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_muon_in_several_processes(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["WORLD_SIZE"] = "2"  # as torchrun says it to each
    try:
        assert run(command(world, "out", *MUON)) == 2
    finally:
        del os.environ["WORLD_SIZE"]
    error = capsys.readouterr().err
    assert "cannot be combined with several processes" in error and error.count("\n") == 1


@pytest.mark.parametrize("kept", ["useful", "noisy"])
def test_a_one_sided_label_set_says_which_side_is_missing(kept: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(world / "one", [f for f in searches() if (f.turn == 1) is (kept == "useful")])
    missing = {"useful": "noisy", "noisy": "useful"}[kept]
    assert run([str(world / "one") if a == str(world / "searches") else a for a in command(world, "out")]) == 2
    error = capsys.readouterr().err
    assert f"no {missing} search is labelled" in error and error.count("\n") == 1


def test_a_context_too_short_says_by_how_much(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = [replace(f, documents=(Document(f.documents[0].text + " word" * 3000),)) for f in searches()]
    write(world / "long", long)
    assert run([str(world / "long") if a == str(world / "searches") else a for a in command(world, "out")]) == 2
    error = capsys.readouterr().err
    assert "is 2048 tokens and the longest search takes " in error and " too many;" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--template", "mikro"], "did you mean 'micro'?"),
        (["--dtype", "float64"], "unknown dtype"),
        (["--model", "/nowhere"], "there is no folder '/nowhere'"),
        (["--row-tokens", "3"], "--row-tokens 3 is less than the longest search"),
        (["--optimizer", "moun"], "unknown optimizer 'moun'; did you mean 'muon'?"),
        ([*MUON, "--lora-rank", "2"], "--optimizer muon cannot be combined with --lora-rank"),
        ([*MUON, "--accumulate", "2"], "--optimizer muon cannot be combined with --accumulate"),
        ([*MUON, "--row-tokens", "2000"], "--optimizer muon cannot be combined with --row-tokens"),
        ([*MUON, "--gradient-checkpointing"], "--optimizer muon cannot be combined with --gradient-checkpointing"),
    ],
)
def test_bad_options(options: list[str], complaint: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(world, "out", *options)) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_a_template_without_its_placeholders(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "bare.txt").write_text("Write documents for {query}.")
    assert run(command(world, "out", "--template", str(world / "bare.txt"))) == 2
    assert "lacks {quality}" in capsys.readouterr().err
