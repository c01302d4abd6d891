"""The calculator: pencil cases, its edges, and that docs/scaling.md is what it says today."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from zerosearch.cli import run as zerosearch
from zerosearch.core.errors import BadConfig
from zerosearch.integrations.verl.size import (
    Assumed,
    Gpu,
    Model,
    Workload,
    best_split,
    decode_step_s,
    least_gpus,
    rows_that_fit,
    search_s,
    step,
)

ROOT = Path(__file__).resolve().parents[2]
EASY = Assumed(training=1.0, reading=1.0, decoding=1.0, rows=10, overhead_s=0.0)
GPU = Gpu(flops=1e12, bandwidth=1e11, memory=1e10, network=1e10)
SMALL = Model(parameters=1e9, kv_bytes=1e4)


def test_a_decode_step_reads_the_weights_and_each_row_s_keys_and_values() -> None:
    # 2e9 bytes of weights and 10 rows × 100 tokens × 1e4 bytes, at 1e11 bytes/s; the arithmetic, 2e9 × 10 / 1e12, takes as long as 20 ms
    assert decode_step_s(SMALL, GPU, rows=10, context=100, assumed=EASY) == pytest.approx(0.0201)
    assert decode_step_s(SMALL, GPU, rows=100, context=0, assumed=EASY) == pytest.approx(0.2)  # bound by arithmetic


def test_rows_that_fit_beside_the_weights() -> None:
    # 60% of 1e10 bytes, less 2e9 of weights, leave 4e9: 4 rows of 1e5 tokens × 1e4 bytes
    assert rows_that_fit(SMALL, GPU, context=1e5, assumed=EASY) == pytest.approx(4.0)
    assert rows_that_fit(SMALL, GPU, context=100, assumed=EASY) == 10
    with pytest.raises(BadConfig, match="leave no room"):
        rows_that_fit(Model(5e9, 1e4), GPU, context=100, assumed=EASY)


def test_one_search_is_its_prompt_and_its_share_of_a_batch() -> None:
    work = Workload(simulator_prompt=100, simulator_reply=10)
    # 2e9 × 100 / 1e12 s to read; 10 steps of (2e9 + 10 × 105 × 1e4) / 1e11 s, shared by 10 rows
    assert search_s(SMALL, GPU, work, EASY) == pytest.approx(0.2 + 10 * 0.020105 / 10)


def test_a_step_adds_up_and_names_its_limit() -> None:
    found = step(SMALL, SMALL, GPU, gpus=2, simulators=1, work=Workload(rollouts=10, longest=1.0), assumed=EASY)
    assert found.seconds == pytest.approx(found.rollout_s + found.learning_s + found.hand_over_s)
    # 12e9 FLOPs per token × 10 rollouts × (250 + 2 × 350 + 3 × 150) tokens / 2e12 FLOP/s
    assert found.learning_s == pytest.approx(12e9 * 10 * 1400 / 2e12) and found.hand_over_s == pytest.approx(0.2)
    assert found.limit == max(("simulator", found.simulator_s), ("learning", found.learning_s), key=lambda p: p[1])[0]


def test_twice_the_gpus_halve_what_can_be_shared_and_nothing_else() -> None:
    one, two = (step(SMALL, SMALL, GPU, n, n, Workload(rollouts=1000), EASY) for n in (2, 4))
    assert two.simulator_s == pytest.approx(one.simulator_s / 2) and two.learning_s == pytest.approx(one.learning_s / 2)
    assert two.hand_over_s == one.hand_over_s and two.slowest_rollout_s == pytest.approx(one.slowest_rollout_s)


def test_the_best_split_is_no_slower_than_any_other() -> None:
    best = best_split(SMALL, SMALL, GPU, 16, Workload(), EASY)
    least = least_gpus(SMALL, GPU)
    assert least == 2  # 18 GB of training state in GPUs of 9 usable GB
    others = [step(SMALL, SMALL, GPU, 16 - n, n, Workload(), EASY).seconds for n in range(1, 16 - least + 1)]
    assert best.gpus + best.simulators == 16 and best.seconds <= 1.01 * min(others)
    with pytest.raises(BadConfig, match="too few"):
        best_split(SMALL, SMALL, GPU, 2, Workload(), EASY)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert zerosearch(["size", "--policy", "7b", "--simulator", "14b", "--gpus", "16", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["gpus"] + result["simulator_gpus"] == 16 and result["searches_per_s"] > 0
    assert zerosearch(["size", "--policy", "9b"]) == 2
    assert "unknown size '9b'" in capsys.readouterr().err


def page() -> Any:
    spec = importlib.util.spec_from_file_location("scaling_page", ROOT / "scripts" / "scaling_page.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page(json.loads((ROOT / "docs" / "scaling.json").read_text()))


def test_the_page_is_what_the_calculator_says_today() -> None:
    assert (ROOT / "docs" / "scaling.md").read_text() == page()
