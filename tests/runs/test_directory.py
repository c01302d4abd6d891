"""What a run leaves behind, and what a kill leaves of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zerosearch.config.recipe import make_recipe, open_run, to_toml
from zerosearch.core.errors import BadConfig, BadFile, RunFailed
from zerosearch.core.types import (
    Author,
    Document,
    Group,
    Quality,
    Question,
    Scores,
    SearchRecord,
    SearchResult,
    Span,
    StopReason,
    Trajectory,
)
from zerosearch.data.trajectories import read_trajectories, trajectory_row
from zerosearch.runs.directory import RunDirectory

QUESTION = Question("q1", "Where is Lima?", ("Peru",), {"type": "country"})


def trajectory(sample: int) -> Trajectory:
    return Trajectory(
        QUESTION,
        sample,
        (
            Span(Author.PROMPT, (1, 2), "Where?"),
            Span(Author.POLICY, (3,), "<search>Lima</search>", (-0.1234567,)),
            Span(Author.ENVIRONMENT, (4, 5, 6), "<information>…</information>"),
        ),
        (SearchRecord(0, "Lima", SearchResult((Document("Lima lies in Peru.", "Lima", "d7"),), Quality.NOISY, "1 document instead of 5")),),
        StopReason.MAX_TURNS,
        malformed_turns=1,
        scores=Scores(0.0, 1.0, 0.5),
        reward=0.5,
        advantage=-1.0,
    )


def group(*samples: int) -> Group:
    return Group(QUESTION, tuple(trajectory(i) for i in samples))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    table = {"policy": {"model": "m"}, "questions": {"train": "q"}, "engine": {"url": "u"}, "run": {"out": str(tmp_path / "a" / "run")}}
    recipe = make_recipe(table)
    made = RunDirectory(Path(recipe.run.out))
    made.require_new()
    made.create(to_toml(recipe))
    return made


# ---- created once, opened again


def test_open_gives_the_recipe_back(run: RunDirectory, tmp_path: Path) -> None:
    opened, recipe = open_run(run.path)
    assert opened.path == run.path and recipe.policy.model == "m" and recipe.run.out == str(run.path)
    moved = run.path.rename(tmp_path / "elsewhere")
    assert open_run(moved)[1].run.out == str(moved)


def test_a_run_is_never_overwritten(run: RunDirectory) -> None:
    with pytest.raises(BadConfig) as caught:
        RunDirectory(run.path).require_new()
    assert str(caught.value) == f"'{run.path}' already holds a run; resume it with --resume {run.path}, or choose another run.out=DIR."


def test_a_folder_that_cannot_be_written(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    impossible = RunDirectory(tmp_path / "file" / "run")  # a folder under a file: not even root can make it
    impossible.require_new()
    with pytest.raises(BadFile) as caught:
        impossible.create("")
    assert str(caught.value).startswith(f"cannot write the run directory '{impossible.path}' (") and "choose another" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_open_where_no_run_is(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"is not a run directory \(it has no config.toml\)"):
        RunDirectory.open(tmp_path)


# ---- what is written


def test_a_trajectory_row_is_whole(run: RunDirectory) -> None:
    run.append_trajectories([group(0)], step=3, phase="train")
    assert list(read_trajectories(run.trajectories)) == [
        {
            "step": 3,
            "phase": "train",
            "question": {"id": "q1", "text": "Where is Lima?", "golden_answers": ["Peru"]},
            "type": "country",
            "sample": 0,
            "spans": [
                {"author": "prompt", "text": "Where?", "token_ids": [1, 2], "logprobs": []},
                {"author": "policy", "text": "<search>Lima</search>", "token_ids": [3], "logprobs": [-0.12346]},
                {"author": "environment", "text": "<information>…</information>", "token_ids": [4, 5, 6], "logprobs": []},
            ],
            "searches": [
                {
                    "turn": 0,
                    "query": "Lima",
                    "quality": "noisy",
                    "remark": "1 document instead of 5",
                    "documents": [{"text": "Lima lies in Peru.", "title": "Lima", "id": "d7"}],
                }
            ],
            "stop_reason": "max_turns",
            "cause": "",
            "answer": None,
            "malformed_turns": 1,
            "scores": {"em": 0.0, "cover_em": 1.0, "f1": 0.5},
            "reward": 0.5,
            "advantage": -1.0,
        }
    ]


def test_metrics_there_and_back(run: RunDirectory) -> None:
    assert list(run.read_metrics()) == []
    run.append_metrics({"step": 1, "loss": 0.5})
    run.append_metrics({"step": 2, "loss": -1e-9})
    assert list(run.read_metrics()) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": -1e-9}]


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_diverged_run_ends_in_one_line(run: RunDirectory, figure: float) -> None:
    with pytest.raises(RunFailed, match=rf"the run has diverged \(loss = {figure}\); choose a lower rl.learning_rate"):
        run.append_metrics({"step": 1, "loss": figure, "reward": 0.5})
    assert not run.metrics.exists()


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.append_metrics({"step": 1}),
        lambda run: run.append_trajectories([group(0)], 1, "train"),
        lambda run: run.write_summary({"seed": 0}),
    ],
)
def test_a_run_folder_that_vanished(run: RunDirectory, write: Callable[[RunDirectory], None]) -> None:
    run.path.rename(run.path.with_name("gone"))
    with pytest.raises(RunFailed) as caught:
        write(run)
    assert str(caught.value).startswith(f"cannot write {run.path}") and f"--resume {run.path}" in str(caught.value)


# ---- what a kill leaves


def test_a_cut_in_the_last_member_leaves_the_others_readable(run: RunDirectory) -> None:
    run.append_trajectories([group(0, 1)], 1, "train")
    run.append_trajectories([group(2)], 2, "train")
    whole = run.trajectories.stat().st_size
    run.append_trajectories([group(3, 4), group(5)], 3, "train")
    data = run.trajectories.read_bytes()
    for length in (whole, whole + 5, whole + 60, len(data) - 9, len(data) - 1):
        run.trajectories.write_bytes(data[:length])
        rows = list(read_trajectories(run.trajectories))
        assert [row["sample"] for row in rows][:3] == [0, 1, 2]
    run.trajectories.write_bytes(data)
    assert [row["sample"] for row in read_trajectories(run.trajectories)] == [0, 1, 2, 3, 4, 5]


def test_a_cut_metrics_line_is_left_out(run: RunDirectory) -> None:
    run.append_metrics({"step": 1})
    run.append_metrics({"step": 22})
    run.metrics.write_bytes(run.metrics.read_bytes()[:-3])
    assert list(run.read_metrics()) == [{"step": 1}]


def test_cut_back_forgets_what_came_after(run: RunDirectory) -> None:
    def step(number: int) -> None:
        run.append_metrics({"step": number})
        run.append_trajectories([group(number)], number, "train")

    assert run.lengths() == {"metrics.jsonl": 0, "trajectories.jsonl.gz": 0}
    step(1)
    lengths = run.lengths()
    step(2)
    uninterrupted = run.metrics.read_bytes(), run.trajectories.read_bytes()
    step(3)
    with run.trajectories.open("ab") as file:
        file.write(b"half a member")
    run.cut_back(lengths)
    assert run.lengths() == lengths
    step(2)
    assert (run.metrics.read_bytes(), run.trajectories.read_bytes()) == uninterrupted
    run.cut_back({name: 0 for name in lengths})
    assert set(run.lengths().values()) == {0}


def test_cut_back_never_lengthens(run: RunDirectory) -> None:
    """A power cut may lose what was written last; zeros in its place would be worse than nothing."""
    run.append_metrics({"step": 1})
    before = run.metrics.read_bytes()
    run.cut_back({"metrics.jsonl": 1000, "trajectories.jsonl.gz": 1000})
    assert run.metrics.read_bytes() == before and not run.trajectories.exists()


def test_advantages_of_tokens_lie_beside_their_log_probs() -> None:
    told = replace(trajectory(0), token_advantages=(0.123456,))
    spans = trajectory_row(told, 1, "train")["spans"]
    assert [span.get("advantages") for span in spans] == [None, [0.1235], None]
    documents_trained_on = replace(trajectory(0), token_advantages=(0.1, 0.2, 0.3, 0.4))
    assert not any("advantages" in span for span in trajectory_row(documents_trained_on, 1, "train")["spans"])


def test_evaluated_rollouts_are_all_or_nothing(run: RunDirectory) -> None:
    run.write_evaluated("trained", [trajectory(0), trajectory(1)], 7)
    rows = list(read_trajectories(run.path / "evaluation-trained.jsonl.gz"))
    assert [(row["sample"], row["step"], row["phase"]) for row in rows] == [(0, 7, "evaluate"), (1, 7, "evaluate")]
    assert not list(run.path.glob(".*partial"))


def test_files_are_cut_back_to_a_mark(run: RunDirectory) -> None:
    for step in (1, 2, 3):
        run.append_metrics({"kind": "train", "step": step})
        run.append_trajectories([group(0)], step, "train")
        run.mark(step)
    length = run.trajectories.stat().st_size
    run.forget_after(2)
    assert [row["step"] for row in run.read_metrics()] == [1, 2] and run.trajectories.stat().st_size == length * 2 // 3
    run.append_metrics({"kind": "train", "step": 3, "again": True})
    run.mark(3)
    run.forget_after(3)  # of two marks of a step the later one counts
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]
    run.forget_after(7)
    assert list(run.read_metrics()) == [] and run.lengths() == {"metrics.jsonl": 0, "trajectories.jsonl.gz": 0}
