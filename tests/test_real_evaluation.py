"""The whole path on real questions and passages: index, evaluate, compare, cost. The policy is behind an OpenAI-compatible server."""

import json
import re
from pathlib import Path

import pytest

from endpoint import Body, said, serving, speaking
from zerosearch.cli import run
from zerosearch.models.local import LocalModel

TITLE = re.compile(r"Doc 1\(Title: (.+?)\)")


def title_reader(body: Body) -> str:
    """No model: it searches for the question and answers with the title of the first document. What is right of that is BM25's doing."""
    text = said(body)
    task = text.rsplit("Question: ", 1)[-1]
    found = TITLE.findall(text)
    if "What helps:" in text:
        return found[0] if found else "nothing"
    if found:
        return f"<think>the first one</think><answer>{found[0]}</answer>"
    if "<information>" in task:  # a note, without a title
        return f"<answer>{task.split('Doc 1:')[-1].split('</information>')[0].strip()}</answer>"
    return f"<search>{task.splitlines()[0]}</search>"


@pytest.mark.parametrize("benchmark", ["hotpotqa", "nq"])
def test_index_evaluate_compare_cost(
    benchmark: str, shared: Path, passages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(shared / "data" / "qa")
    agents = ("direct", "rag", "zerosearch", "ra-agent", "search-o1")
    with speaking(title_reader) as server:
        for agent in agents:
            assert (
                run(
                    ["evaluate", "--benchmark", benchmark, "--benchmarks", folder, "--agent", agent, "--policy", server.url,
                     "--engine", "bm25", "--corpus", str(passages), "--limit", "30", "--out", str(tmp_path / agent), "--json", "-"]
                ) == 0
            )  # fmt: skip
    capsys.readouterr()
    assert run(["compare", *(str(tmp_path / agent) for agent in agents), "--json", "-"]) == 0
    table = json.loads(capsys.readouterr().out)
    rows = {row["label"]: row for row in table["rows"]}
    assert list(rows) == list(agents) and all(row["n"] == 30 and row["benchmark"] == benchmark for row in rows.values())
    assert rows["direct"]["searches_per_question"] == 0 and rows["rag"]["searches_per_question"] == 1
    # the same documents, read by the same rule: agents that search with the question agree
    assert rows["rag"]["em"] == rows["zerosearch"]["em"] == rows["ra-agent"]["em"] == rows["search-o1"]["em"]
    assert rows["rag"]["f1"]["mean"] > rows["direct"]["f1"]["mean"] == 0
    assert len(table["pairs"]) == 10
    assert run(["cost", str(tmp_path / "rag"), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["searches"] == 30 and report["api_usd"]["serpapi"] == pytest.approx(30 * 9.1667 / 1000, abs=1e-3)


def test_a_tiny_checkpoint_behind_a_real_server(
    micro: Path, shared: Path, passages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers nonsense, in its own time, by both styles; what matters is that every question comes back scored."""
    with serving(LocalModel.load(str(micro / "policy"), "cpu")) as url:
        for style in ("chat", "completions"):
            command = ["evaluate", "--benchmark", "bamboogle", "--benchmarks", str(shared / "data" / "qa"), "--policy", url]
            options = ["--corpus", str(passages), "--prompt", "micro", "--max-turns", "2", "--limit", "4", "--policy-style", style]
            assert run([*command, *options, "--json", "-"]) == 0
            result = json.loads(capsys.readouterr().out)
            assert (result["n"], result["failed"], result["policy_style"]) == (4, 0, style)
            assert result["cost"]["new_tokens"] > 0
