"""The benchmarks start, do the work they say, and tell in a line what is missing. Nothing is timed, and no peer is needed."""

import importlib.util
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PEERS = {"trl_step.py": ("--trl-python", "trl"), "vllm_sampler.py": ("--vllm-python", "vllm")}


class OpenGate:
    """A benchmark's `Gate` with nobody at the other end."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def begin(self) -> None:
        self.begun += 1

    def end(self) -> None:
        self.ended += 1

    def part(self, _: str) -> Any:
        return nullcontext()


@pytest.fixture
def script() -> Any:
    """Loads a benchmark as a module, from its file."""

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


def run(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FOLDER / name), *args], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", PEERS)
def test_help_says_what_it_is(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0 and "against" in done.stdout and PEERS[name][0] in done.stdout


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("scoring.py", ("--n", "40"), {"transcripts": 40, "em_equal": 40}),
        ("evaluation_overhead.py", ("--questions", "20"), {"questions": 20, "searches_per_question": 2.0}),
    ],
)
def test_a_benchmark_of_our_own_prints_one_json_object(name: str, args: tuple[str, ...], expected: dict[str, float]) -> None:
    done = run(name, *args, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= expected.items()


@pytest.mark.parametrize("name", PEERS)
def test_a_missing_peer_is_one_line_and_exit_2(name: str, tmp_path: Path) -> None:
    option, package = PEERS[name]
    pythons = [str(tmp_path / "no-python"), *([sys.executable] if importlib.util.find_spec(package) is None else [])]
    for python in pythons:
        done = run(name, option, python)
        assert done.returncode == 2 and not done.stdout
        assert "pip install" in done.stderr and option in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("observation", [20, 0])
def test_a_training_step_has_the_shapes_it_should(script: Any, tmp_path: Path, observation: int) -> None:
    trl_step = script("trl_step")
    trl_step.write_checkpoint(tmp_path)
    gate, work = OpenGate(), trl_step.Work(prompts=2, group=3, prompt=8, turn=6, observation=observation)
    did = trl_step.ours(tmp_path, work, 2, gate)
    assert (did["rows"], did["tokens_per_row"], did["trained_tokens"]) == (6, [8 + 12 + observation], 6 * 12)
    assert did["prefilled_over_new"] == 1.0 and gate.begun == gate.ended == 2


def test_our_side_of_the_sampler_comparison(script: Any, tmp_path: Path) -> None:
    script("trl_step").write_checkpoint(tmp_path)
    vllm_sampler = script("vllm_sampler")
    gate = OpenGate()
    assert "torch" in vllm_sampler.ours(tmp_path, 1, gate, requests=2)
    assert gate.ended == 1


def test_cpu_seconds_of_the_children_count(script: Any) -> None:
    vllm_sampler = script("vllm_sampler")
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    before = vllm_sampler.tree_cpu_seconds()
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert vllm_sampler.tree_cpu_seconds() - before > 0.4


def test_bm25_and_bm25s_do_the_same_work(script: Any, tmp_path: Path) -> None:
    bm25 = script("bm25")
    bm25.write_synthetic(tmp_path / "c.jsonl", 300, words=12, vocabulary=500)
    queries = bm25.synthetic_queries(tmp_path / "c.jsonl", 20)
    assert len(queries) == 20 and all(len(query.split()) == 6 for query in queries)
    result = bm25.measure(tmp_path / "c.jsonl", queries, tmp_path / "index", rounds=1)
    assert result["passages"] == 300 and result["same_scores"] == 1.0
    assert result["ratio"] > 0 and result["memory_mb"].keys() == {"ours", "theirs"}


def test_the_kinds_of_dense_index_are_compared(script: Any, tmp_path: Path) -> None:
    dense = script("dense")
    vectors, queries = dense.random_vectors(1500, 16, 10)
    dense.build("flat", vectors, tmp_path / "flat", lambda done: None)
    exact = [{position for position, _ in row} for row in dense.Nearest(tmp_path / "flat", "flat").find(queries, dense.K)]
    rows = {kind: dense.measure(kind, vectors, queries, exact, tmp_path) for kind in dense.INDEX_KINDS}
    assert rows["flat"]["default"]["recall@10"] == 1.0 and rows["hnsw"]["default"]["recall@10"] > 0.9
    assert 0 < rows["ivfpq"]["effort 8"]["recall@10"] <= rows["ivfpq"]["effort 256"]["recall@10"]


def test_simulated_search_through_a_loopback_endpoint() -> None:
    done = run("simulated_search.py", "--searches", "20", "--at-once", "4", "--think-ms", "1")
    result = json.loads(done.stdout)
    assert result["searches"] == 20 and result["overhead_ms"] > 0 and result["endpoint_s"] == pytest.approx(0.005)


def test_a_pass_over_the_same_examples_packed_and_padded(script: Any) -> None:
    pytest.importorskip("accelerate")
    tune_step = script("tune_step")
    examples = tune_step.examples_of(4)
    rows, steps = tune_step.steps_of(examples, 4)
    assert rows * steps <= 4 and steps == 1
    assert tune_step.bare(examples, 4, 1) > 0 and tune_step.ours(examples, 4, 1) > 0


@pytest.mark.slow
def test_tune_step_reads_the_same_examples() -> None:
    pytest.importorskip("accelerate")
    done = run("tune_step.py", "--examples", "8", "--batch", "4", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ratio"] > 0 and result["steps"] == {"bare": 2, "ours": pytest.approx(2, abs=1)}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_run_killed_and_resumed_is_bitwise_the_same(algorithm: str) -> None:
    done = run("kill_resume.py", "--kills", "2", "--steps", "6", "--algorithm", algorithm)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ratio"] == 1.0 and result["kills"] == 2 and result["rows"] == 6


def test_the_viewers_made_up_run_and_three_ways_to_ask_it(script: Any, tmp_path: Path) -> None:
    viewer = script("viewer")
    viewer.write_run(tmp_path / "run", 300)
    assert viewer.write_report(tmp_path / "run").stat().st_size > 100_000
    times = viewer.compare_indexes(tmp_path / "run" / "trajectories.jsonl.gz")
    assert times.keys() == {"build_s", "sqlite_ms", "list_ms", "file_ms", "one_record_ms"} and times["sqlite_ms"] > 0
