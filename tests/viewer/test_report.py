from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest

import zerosearch.viewer
from zerosearch.errors import BadFile
from zerosearch.viewer.report import write_report
from zerosearch.viewer.tables import Figure, summary_view

ATTACK = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
CSS = (Path(zerosearch.viewer.__file__).parent / "templates" / "report.css").read_text()


class Page(HTMLParser):
    """Elements, and the visible text, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.visible = ""
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.visible += "" if self._hidden else data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= got.items() for name, got in self.elements)


def page(run_dir: Path) -> Page:
    return Page(write_report(run_dir).read_text("utf-8"))


def with_attack(value: Any) -> Any:
    """The same value with every key and every text replaced by an attack, as far as the report needs no word of it."""
    if isinstance(value, dict):
        keep = {"kind", "phase", "author", "quality"}
        items = cast(dict[str, Any], value).items()
        return {k: v if k in keep else with_attack(v) for k, v in items} | {f"extra{ATTACK}": 1.5}
    if isinstance(value, list):
        return [with_attack(v) for v in cast(list[Any], value)]
    return ATTACK + value if isinstance(value, str) else value


def test_everything_is_on_the_page(run_dir: Path) -> None:
    seen = page(run_dir)
    for text in (
        "Before and after", "0.332", "0.651 – 0.771", "+0.379", "5 min 32 s", "Reward", "Scores with the real engine", "Noise rate",
        "Searches per rollout", "KL to the reference", "Speed", "EM by question type", "Peak memory mb", "12 of 400", "drawn: noisy",
        "drawn: useful", "nothing drawn: real engine", "Environment", "Policy", "Prompt", 'algorithm = "grpo"',
    ):  # fmt: skip
        assert text in seen.visible, text
    assert seen.count("details", **{"class": "trajectory"}) == 12
    assert seen.count("mark") > 12


def test_the_page_is_small_and_the_same_every_time(run_dir: Path) -> None:
    first = write_report(run_dir).read_bytes()
    assert len(first) < 1_000_000
    assert write_report(run_dir).read_bytes() == first
    assert sorted(path.name for path in run_dir.glob("report*")) == ["report.html"]


def test_nothing_can_be_fetched(run_dir: Path) -> None:
    html = write_report(run_dir).read_text("utf-8")
    seen = Page(html)
    assert not any(name in attributes for _, attributes in seen.elements for name in ("src", "href", "srcset", "style", "action"))
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|import\(", html)
    policy = next(a["content"] for tag, a in seen.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert policy.count("'sha256-") == 4 == html.count("<style>") + html.count("<script>")


def test_markup_in_any_field_is_only_text(run_dir: Path, make_trajectory: Callable[..., dict[str, Any]]) -> None:
    plain = page(run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    (run_dir / "summary.json").write_text(json.dumps(with_attack(summary)))
    (run_dir / "config.toml").write_text(ATTACK)
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    (run_dir / "metrics.jsonl").write_text("\n".join(json.dumps(with_attack(json.loads(line))) for line in lines))
    with gzip.open(run_dir / "trajectories.jsonl.gz", "rt") as file:
        records = [with_attack(json.loads(line)) for line in file]
    (run_dir / "trajectories.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))

    html = write_report(run_dir).read_text("utf-8")
    attacked = Page(html)
    assert "alert(1)" in attacked.visible
    assert attacked.count("img") == 0
    assert attacked.count("script") == plain.count("script") == 3
    assert "<script>alert" not in html
    data = re.search(r'id="chart-data">(.*?)</script>', html, re.DOTALL)
    assert data and any("alert(1)" in chart["title"] for chart in json.loads(data[1]))


def test_cut_files_are_survived_and_said(run_dir: Path) -> None:
    metrics, trajectories = run_dir / "metrics.jsonl", run_dir / "trajectories.jsonl.gz"
    metrics.write_bytes(metrics.read_bytes()[:-30])
    trajectories.write_bytes(trajectories.read_bytes()[:-40])
    seen = page(run_dir)
    assert "The last line of metrics.jsonl is cut and was left out." in seen.visible
    assert seen.visible.count("trajectories.jsonl.gz is cut after record 39") == 1
    assert seen.count("details", **{"class": "trajectory"}) == 12


def test_only_metrics_are_required(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "reward": 0.5, "kl": NaN}\n')
    seen = page(tmp_path)
    assert "reward: 0.5 at step 1" in seen.visible
    assert "There is no trajectories.jsonl.gz" in seen.visible
    assert "KL to the reference" not in seen.visible


def test_a_record_with_hardly_a_field_is_shown(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "evaluate", "step": 1, "em": {"mean": 0.5, "low": 0.4, "high": 0.6}}\n')
    record = json.dumps({"spans": [{"text": "lone \ud800 surrogate"}, 3], "searches": [None], "scores": {"em": 0.0}})
    (tmp_path / "trajectories.jsonl.gz").write_bytes(gzip.compress(f"{{}}\n{record}\n".encode()))
    assert "lone ? surrogate" in page(tmp_path).visible


@pytest.mark.parametrize("text", [None, "", '{"kind": "tra'])
def test_a_run_without_metrics_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(BadFile, match=r"metrics\.jsonl"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_broken_files_are_named(run_dir: Path) -> None:
    (run_dir / "summary.json").write_text("[]")
    with pytest.raises(BadFile, match=r"summary\.json: not a JSON object"):
        write_report(run_dir)
    (run_dir / "metrics.jsonl").write_text('{"step": 1}\nbroken\n{"step": 2}\n')
    with pytest.raises(BadFile, match=r"metrics\.jsonl, line 2"):
        write_report(run_dir)


def test_intervals_as_a_run_writes_them() -> None:
    sides = {
        "base": {"em": 0.25, "failed": 0, "n": 8, "intervals": {"em": [0.1, 0.4]}, "by_type": {"a": 0.5}},
        "trained": {"em": 0.75, "failed": 1, "n": 8, "intervals": {"em": [0.6, 0.9]}, "by_type": {"a": 1.0}},
    }
    rows = {row.label: row for row in summary_view(sides).comparisons}
    assert set(rows) == {"EM", "Failed"}
    assert rows["EM"].base == Figure(0.25, 0.1, 0.4) and rows["EM"].trained == Figure(0.75, 0.6, 0.9)
    assert rows["EM"].is_share and not rows["Failed"].is_share  # 0 failures are no share of anything


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_wcag_aa(scheme: int) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", CSS.split("@media (prefers-color-scheme: dark)")[scheme].split("\n* {")[0]))
    text_pairs = [("text", "page"), ("text", "card"), ("muted", "page"), ("muted", "card"), ("accent", "page"), ("mark-text", "mark"),
                  ("policy", "policy-page"), ("environment", "environment-page"), ("prompt", "prompt-page"),
                  ("series-1", "card"), ("series-2", "card")]  # fmt: skip
    for ink, paper in text_pairs:
        assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for i in range(6):
        assert contrast(colours[f"series-{i}"], colours["card"]) >= 3, i
