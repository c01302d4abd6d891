"""The report of a run: one HTML file that needs no network, and cannot be made to use it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zerosearch.files import write_atomically, writing
from zerosearch.viewer.charts import main_charts, more_charts
from zerosearch.viewer.conversations import card, choose, conversation
from zerosearch.viewer.run_files import Notes, read_metrics, read_summary, read_trajectories
from zerosearch.viewer.tables import summary_view

_HERE = Path(__file__).parent
_STYLES = ("vendor/uPlot.min.css", "templates/report.css")
_SCRIPTS = ("vendor/uPlot.iife.min.js", "templates/report.js")


def write_report(run_dir: Path, go_on: str = "the same command") -> Path:
    """Write `report.html` into the directory of a run and return its path.

    Reads metrics.jsonl (required), and config.toml, summary.json and trajectories.jsonl.gz where present. Files cut by
    a kill are read as far as they are whole, and the report says so. Raises BadFile without metrics, RunFailed when the
    page cannot be written; `go_on` is the command named then.
    """
    run_dir = Path(run_dir)
    notes = Notes()
    metrics = read_metrics(run_dir / "metrics.jsonl", notes)
    trajectories_path = run_dir / "trajectories.jsonl.gz"
    # read twice: a long run's trajectories do not fit into memory, the few that are shown do
    cards = [card(record, i) for i, record in enumerate(read_trajectories(trajectories_path, notes))]
    chosen = {c.index: c for c in choose(cards)}
    records = enumerate(read_trajectories(trajectories_path, notes)) if chosen else ()
    conversations = [conversation(record, chosen[i]) for i, record in records if i in chosen]
    config = run_dir / "config.toml"
    styles, scripts = _assets(_STYLES), _assets(_SCRIPTS)
    charts, more = main_charts(metrics), more_charts(metrics)
    html = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            name=run_dir.resolve().name,
            policy=_content_security_policy(styles, scripts),
            styles=styles,
            scripts=scripts,
            steps=max((row["step"] for row in metrics if isinstance(row.get("step"), int)), default=0),
            summary=summary_view(read_summary(run_dir / "summary.json")),
            config=config.read_text("utf-8", errors="replace") if config.exists() else "",
            charts=charts,
            more_charts=more,
            chart_data=[asdict(chart) for chart in charts + more],
            conversations=sorted(conversations, key=lambda c: (c.card.step, c.card.index)),
            trajectory_count=len(cards),
            notes=notes.lines,
        )
    )
    report = run_dir / "report.html"
    with writing(report, go_on):
        # a lone surrogate from a model's reply cannot be written as UTF-8
        write_atomically(report, html.encode("utf-8", errors="replace").decode())
    return report


def _assets(names: tuple[str, ...]) -> list[Markup]:
    return [Markup((_HERE / name).read_text("utf-8").strip()) for name in names]


def _content_security_policy(styles: list[Markup], scripts: list[Markup]) -> str:
    """Nothing may run, style or load but the very texts of this page, named by their hashes."""

    def hashes(texts: list[Markup]) -> str:
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)

    return f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; base-uri 'none'; form-action 'none'"


def _environment() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
