"""What is said when nobody sits at a terminal."""

import io

import pytest
from rich.console import Console

from zerosearch.runs.progress import Progress


def said(total: int) -> list[str]:
    text = io.StringIO()
    with Progress("training", Console(file=text, width=40)) as progress:
        for done in range(1, total + 1):
            progress.step(done, total, {"reward": 0.25, "noise_rate": 0.5, "secret": 1.0})
    return text.getvalue().splitlines()


def test_plain_lines_now_and_then_the_last_one_always() -> None:
    lines = said(total=500)
    assert len(lines) < 10
    assert lines[-2] == "training: 500/500  reward 0.25 noise 0.50  about 0 s left"
    assert lines[-1] == "training: done in 0 s"


def test_what_a_guard_did_is_said_and_a_warning_that_lasts_once() -> None:
    text = io.StringIO()
    kl = {"alarm": "kl = 3 is above 1"}
    with Progress("training", Console(file=text, width=40)) as progress:
        for done, row in enumerate([{}, {**kl, "action": "warn"}, {**kl, "action": "warn"}, {**kl, "action": "skip"}, {}], start=1):
            progress.step(done, 6, row)
    guarded = [line for line in text.getvalue().splitlines() if "kl" in line]
    assert guarded == ["training: step 2: warn: kl = 3 is above 1", "training: step 4: skip: kl = 3 is above 1"]


def test_a_failure_is_not_called_done() -> None:
    text = io.StringIO()
    with pytest.raises(ValueError), Progress("training", Console(file=text)):
        raise ValueError
    assert "done" not in text.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_step_noise_and_time_left_have_room_on_a_terminal(width: int) -> None:
    text = io.StringIO()
    with Progress("reinforcement learning", Console(file=text, width=width, force_terminal=True, color_system=None)) as progress:
        metrics = {"reward": 0.25, "em": 0.5, "noise_rate": 0.125, "searches": 1.5, "loss": -0.01}
        for done in (1, 2, 120):
            progress.step(done, 120, metrics)
    last = [line for line in text.getvalue().splitlines() if "120/120" in line][-1]
    assert "reinforcement learning" in last and "reward 0.25 noise 0.12 EM 0.50" in last and "0:00:00 left" in last
