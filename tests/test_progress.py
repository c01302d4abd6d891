"""What is said when nobody sits at a terminal."""

import io

import pytest
from rich.console import Console

from zerosearch.progress import Progress


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


def test_a_failure_is_not_called_done() -> None:
    text = io.StringIO()
    with pytest.raises(ValueError), Progress("training", Console(file=text)):
        raise ValueError
    assert "done" not in text.getvalue()
