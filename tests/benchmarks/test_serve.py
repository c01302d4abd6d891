"""The server's benchmarks start, and do the work they say; what they time is not looked at."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "serve"


def run(name: str, *args: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(FOLDER / name), *args], capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_soak() -> None:
    result = run("soak.py", "--requests", "100", "--clients", "16", "--faults", "0.1")
    assert result["wrong"] == result["lost"] == 0 and sum(result["statuses"].values()) == 100


@pytest.mark.slow
def test_the_others(tmp_path: Path) -> None:
    assert run("overhead.py", "--requests", "200", "--rounds", "1", "--clients", "8")["ratio"] > 0
    assert run("latency.py", "--clients", "4", "--requests", "16", "--rounds", "1", "--think-ms", "20")["ms"]["served"]["p50"] > 10
    assert set(run("overload.py", "--seconds", "1")["statuses"]) == {"200", "503"}
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(i), "text": f"fact number {i} about {i % 7}"}) + "\n" for i in range(600)))
    questions.write_text(
        "".join(json.dumps({"id": str(i), "question": f"number {i}", "golden_answers": ["yes"]}) + "\n" for i in range(400))
    )
    assert run("bm25.py", "--corpus", str(corpus), "--questions", str(questions), "--rounds", "1")["passages"] == 600
