"""The worked example beyond encyclopedias: a corpus of docstrings, searches over it, labels on both sides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zerosearch.cli import run
from zerosearch.core.types import Quality
from zerosearch.simulator.label import read_labelled
from zerosearch.simulator.probe_set import probes_of
from zerosearch.simulator.searches import SearchesDirectory

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "docstrings.py"


def test_from_docstrings_to_labelled_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made"
    command = [sys.executable, str(SCRIPT), "--out", str(made), "--modules", "heapq,json,shutil,bisect,textwrap,statistics"]
    subprocess.run(command, check=True, env=os.environ)
    corpus = [json.loads(line) for line in (made / "corpus.jsonl").read_text().splitlines()]
    assert any(row["id"] == "heapq.heappush" and row["title"] == "heapq" for row in corpus)
    assert run(["collect", "--from-rollouts", str(made / "rollouts.jsonl"), "--out", str(tmp_path / "searches")]) == 0
    assert run(["label", str(tmp_path / "searches"), "--by", "answer,outcome", "--combine", "all", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["balanced_pairs"] >= 20
    directory = SearchesDirectory(tmp_path / "searches")
    assert {p.quality for p in read_labelled(directory)} == set(Quality)
    probes = probes_of(directory.read_searches(), 20, 0)
    assert len(probes.right) == len(probes.off_target) == 20 and probes.first_hop
