"""The one-file report: everything is in it, nothing can be fetched, nothing a model wrote is markup."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attack import ATTACK, attacked

import zerosearch.viewer
from zerosearch.core.errors import BadFile
from zerosearch.viewer.report import write_report
from zerosearch.viewer.sample import choose, spread
from zerosearch.viewer.summary_tables import Figure, summary_view

PAGE = Path(zerosearch.viewer.__file__).parent / "page"
CSS = (PAGE / "style.css").read_text()


class Page(HTMLParser):
    """Elements as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def html_of(run_dir: Path) -> str:
    return write_report(run_dir).read_text("utf-8")


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_everything_is_in_it(run_dir: Path) -> None:
    html = html_of(run_dir)
    data = data_of(html)
    assert len(data["trajectories"]) == len(data["rows"]) == data["all"] == 400
    assert data["note"].startswith("This file works without a network and holds 400 of 400 trajectories")
    assert {"overview", "simulator", "compare", "study", "state"} <= data.keys()
    assert str(run_dir.parent) not in html  # it may be mailed


def test_it_is_the_same_every_time_and_leaves_nothing_else(run_dir: Path) -> None:
    first = html_of(run_dir)
    assert html_of(run_dir) == first and len(first) < 5_000_000
    assert [path.name for path in run_dir.glob("*report*")] == ["report.html"]


def test_nothing_can_be_fetched(run_dir: Path) -> None:
    html = html_of(run_dir)
    seen = Page(html)
    assert not any(name in attributes for _, attributes in seen.elements for name in ("src", "srcset", "style", "action"))
    assert [a["href"] for _, a in seen.elements if "href" in a] == ["#main"]
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    policy = next(a["content"] for tag, a in seen.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert policy.count("'sha256-") == html.count("<style>") + html.count("<script>") == 2 + 9


def test_markup_in_any_field_is_only_text(run_dir: Path) -> None:
    before = [tag for tag, _ in Page(html_of(run_dir)).elements]
    attacked(run_dir)
    html = html_of(run_dir)
    assert [tag for tag, _ in Page(html).elements] == before
    assert "<script>alert" not in html and "alert(1)" in html
    assert ATTACK in data_of(html)["trajectories"][0]["question"]["text"]


def test_the_page_never_makes_markup_of_text() -> None:
    scripts = [file.read_text() for file in PAGE.glob("*.js")]
    assert len(scripts) == 8
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert not any(word in text for text in scripts), word


def test_a_record_with_hardly_a_field_is_shown(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "evaluate", "step": 1, "em": {"mean": 0.5, "low": 0.4, "high": 0.6}}\n{"kl": NaN}\n')
    record = json.dumps({"spans": [{"text": "lone \ud800 surrogate"}, 3], "searches": [None], "scores": {"em": 0.0}})
    (tmp_path / "trajectories.jsonl.gz").write_bytes(gzip.compress(f"{{}}\n{record}\n".encode()))
    assert data_of(html_of(tmp_path))["trajectories"][1]["spans"][0]["pieces"] == [["lone \ud800 surrogate", ""]]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is not a run directory"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


# ---- the sample


def sizes(steps: int, questions: int, samples: int) -> list[dict[str, Any]]:
    rows = [("train", s, f"q{s}-{q}") for s in range(steps) for q in range(questions) for _ in range(samples)]
    rows += [("evaluate", s, f"held{q}") for s in range(0, steps, 10) for q in range(questions)]
    return [{"n": n, "phase": p, "step": s, "question_id": q, "em": 1.0, "length": 100} for n, (p, s, q) in enumerate(rows)]


def test_few_are_all_embedded() -> None:
    assert choose(sizes(2, 2, 2)) == list(range(10))
    assert choose([]) == []


def test_the_sample_is_whole_groups_and_whole_questions_within_bounds() -> None:
    rows = sizes(100, 5, 4)
    chosen = {n: rows[n] for n in choose(rows, 50_000)}
    assert 40_000 < sum(row["length"] for row in chosen.values()) <= 50_000
    for n, row in chosen.items():
        same = [r for r in rows if r["question_id"] == row["question_id"]]
        assert all(r["n"] in chosen for r in same), n
    steps = {row["step"] for row in chosen.values() if row["phase"] == "train"}
    assert {0, 99} <= steps and len(steps) > 60


def test_spread_by_pencil() -> None:
    assert spread(5) == [0, 4, 2, 1, 3]
    assert spread(1) == [0] and spread(0) == []
    assert sorted(spread(1000)) == list(range(1000))


# ---- the tables


def test_intervals_as_a_run_writes_them() -> None:
    sides = {
        "base": {"em": 0.25, "failed": 0, "n": 8, "intervals": {"em": [0.1, 0.4]}, "by_type": {"a": 0.5}},
        "trained": {"em": 0.75, "failed": 1, "n": 8, "intervals": {"em": [0.6, 0.9]}, "by_type": {"a": 1.0}},
    }
    rows = {row.label: row for row in summary_view(sides).comparisons}
    assert set(rows) == {"EM", "Failed"}
    assert rows["EM"].base == Figure(0.25, 0.1, 0.4) and rows["EM"].trained == Figure(0.75, 0.6, 0.9)
    assert rows["EM"].is_share and not rows["Failed"].is_share  # 0 failures are no share of anything


# ---- colours


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark by the system", "dark by choice"])
def test_contrast_is_wcag_aa(scheme: int) -> None:
    parts = re.split(r":root[^{]*\{", CSS.split("* { box-sizing")[0])[1:]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", parts[scheme]))
    text_pairs = [("text", "page"), ("text", "card"), ("text", "soft"), ("muted", "page"), ("muted", "card"), ("muted", "soft"),
                  ("accent", "page"), ("accent", "card"), ("accent", "soft"), ("card", "accent"), ("mark-text", "mark"),
                  ("policy", "policy-page"), ("environment", "environment-page"), ("prompt", "prompt-page"),
                  ("series-1", "card"), ("series-2", "card"), ("series-1", "soft"), ("series-2", "soft"),
                  ("masked-text", "masked")]  # fmt: skip
    text_pairs += [("text", shade) for shade in ("shade-1", "shade-2", "shade-3", "shade-4", "up-1", "up-2", "down-1", "down-2")]
    low = [(ink, paper, round(contrast(colours[ink], colours[paper]), 2)) for ink, paper in text_pairs]
    assert [pair for pair in low if pair[2] < 4.5] == []
    for i in range(6):
        assert contrast(colours[f"series-{i}"], colours["card"]) >= 3, i
