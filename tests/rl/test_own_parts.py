"""An algorithm, a reward and an environment of the user's own: they reach the workers, and what is wrong with one is said in one line."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from zerosearch.api.training import Run, train
from zerosearch.core.errors import BadConfig
from zerosearch.core.types import Question, Step, Trajectory
from zerosearch.rl.algorithms import Algorithm

SCRIPT = '''
import sys
from pathlib import Path
import torch
from zerosearch.api.training import train
from zerosearch.core.types import Step
from zerosearch.rl.algorithms import Algorithm, sequence_mean

with open(sys.argv[2] + "/ran", "a") as file:  # there is no guard: a worker that imported this script would write here, and train
    file.write("x")

class Echo:
    """Answers the first turn with its length and ends with the second."""
    stop = ("</answer>",)
    def reset(self, question):
        self.turns = 0
        return question.text
    def step(self, text):
        self.turns += 1
        return Step(f"heard {len(text)}", done=self.turns == 2, answer=text[:5])

def advantages(groups):
    known = [r for group in groups for r in group if r is not None]
    mean = sum(known) / max(len(known), 1)
    return [[None if r is None else r - mean for r in group] for group in groups]

def loss(logprobs_M, old_logprobs_M, advantages_M, clip, clip_high, rows_M):
    return -torch.exp(logprobs_M - old_logprobs_M) * advantages_M

def reward(trajectory):
    return float(len(trajectory.token_ids) % 7) * 3 - 2

mine = Algorithm(advantages, loss, aggregation=lambda lengths, budget: sequence_mean(lengths, budget))
world, out = sys.argv[1:]
run = train(
    f"{world}/policy", f"{world}/questions.jsonl", environment=Echo, reward=reward, algorithm=mine, curriculum=lambda step: 0.1,
    rl={"steps": 2, "questions_per_step": 2, "group_size": 3, "learning_rate": 1e-3},
    rollout={"max_turns": 3, "max_turn_tokens": 24, "max_tokens": 200, "prompt": "micro"}, run={"workers": 2, "seed": 3}, out=f"{out}/run",
)
for row in run.metrics:
    print(row["trained_tokens"], row["failed"], row["noise_rate"])
'''


@pytest.mark.slow  # tests/examples has functions of `__main__` reach two workers; here it is a script that must not run twice
def test_functions_of_a_script_without_a_guard_reach_two_workers(micro: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "own.py"), str(micro), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == 2 and all(int(tokens) > 0 and failed == "0" and noise == "0.1" for tokens, failed, noise in rows)
    assert (tmp_path / "ran").read_text() == "x"


class OneTurn:
    def __init__(self, reward: float | None = None, holds: object = None) -> None:
        self.reward, self.holds = reward, holds

    def reset(self, question: Question) -> str:
        return question.text

    def step(self, text: str) -> Step:
        return Step(None, done=True, reward=self.reward, answer=text[:5])


def trained(micro: Path, out: Path, workers: int = 1, **given: Any) -> Run:
    return train(
        str(micro / "policy"),
        str(micro / "questions.jsonl"),
        **{"environment": OneTurn(), "reward": uneven, **given},
        rl={"steps": 1, "questions_per_step": 2, "group_size": 3},
        rollout={"max_turns": 1, "max_turn_tokens": 8, "max_tokens": 200, "prompt": "micro"},
        run={"workers": workers, "seed": 3},
        out=out,
        console=Console(quiet=True),
    )


def uneven(trajectory: Trajectory) -> float:
    return float(trajectory.sample)


def raises(trajectory: Trajectory) -> float:
    raise ValueError("two\nlines")


async def asynchronous(trajectory: Trajectory) -> float:
    return 1.0


def always(value: object) -> Callable[..., Any]:
    def constant(*arguments: object) -> Any:
        return value

    return constant


WHERE = r"\(question '.+', sample 0, step 1\)"


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (always(math.nan), f"the reward function 'constant' returned nan {WHERE}; it must be a finite number."),
        (always("0.5"), f"the reward function 'constant' returned '0.5' {WHERE}; it must be a finite number."),
        (always(None), f"the reward function 'constant' returned None {WHERE}; it must be a finite number."),
        (raises, f"the reward function 'raises' raised ValueError: two lines {WHERE}."),
        (asynchronous, "the reward function 'asynchronous' is async; give a plain function."),
    ],
)
def test_a_reward_that_is_no_number_is_one_line_that_names_the_rollout(micro: Path, tmp_path: Path, reward: Any, said: str) -> None:
    with pytest.raises(BadConfig, match=f"^{said}$"):
        trained(micro, tmp_path / "run", reward=reward)


def test_a_reward_of_ones_own_may_be_any_finite_number(micro: Path, tmp_path: Path) -> None:
    assert trained(micro, tmp_path / "run", reward=lambda t: 17.0 - 20 * t.sample).metrics[0]["reward"] == -3.0
    assert trained(micro, tmp_path / "torch", reward=always(torch.tensor(0.5))).metrics[0]["reward"] == 0.5


def test_an_environment_s_own_reward_counts_where_none_was_given(micro: Path, tmp_path: Path) -> None:
    assert trained(micro, tmp_path / "run", environment=OneTurn(0.25), reward=None).metrics[0]["reward"] == 0.25
    with pytest.raises(BadConfig, match=rf"the environment's Step\.reward was nan {WHERE}"):
        trained(micro, tmp_path / "nan", environment=OneTurn(math.nan), reward=None)


ONES = always([[1.0] * 3] * 2)


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        (Algorithm(always([[1.0] * 2, [1.0] * 4])), r"in groups of \[2, 4\] for rewards in groups of \[3, 3\]"),
        (Algorithm(always(None)), "the algorithm's advantages function raised TypeError"),
        (Algorithm(always([[math.nan] * 3] * 2)), r"the advantage nan for the reward 0\.0"),
        (Algorithm(ONES, loss="nope"), "unknown loss 'nope'; choose one of: clipped_policy_loss"),
        (Algorithm(ONES, loss=lambda new, old, adv, low, high, rows: (new * adv).sum()), r"gave shape \(\) for \d+ tokens"),
        (Algorithm(ONES, loss=lambda new, old, adv, low, high, rows: -adv), r"give a tensor made of logprobs_M"),
        (Algorithm(ONES, loss=lambda *given: 1 / 0), "the loss function raised ZeroDivisionError: division by zero"),
        (Algorithm(ONES, aggregation=always(([1.0], 1.0))), r"the algorithm's aggregation returned \(\[1\.0\], 1\.0\) for 6 rollouts"),
    ],
)
def test_an_algorithm_that_does_not_fit_is_one_line(micro: Path, tmp_path: Path, algorithm: Algorithm, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        trained(micro, tmp_path / "run", algorithm=algorithm)
    assert "\n" not in str(caught.value)


def test_what_cannot_travel_is_said_before_anything_runs(micro: Path, tmp_path: Path) -> None:
    held = OneTurn(holds=threading.Lock())
    with pytest.raises(BadConfig, match=r"the environment <.*OneTurn.* cannot be sent to a worker process \(cannot pickle .*'workers': 1"):
        trained(micro, tmp_path / "run", workers=2, environment=held)
    assert not (tmp_path / "run").exists()
    assert trained(micro, tmp_path / "alone", environment=held).metrics[0]["reward"] == 1.0
