"""The quickstart's last words: before and after, one hop and two, with n and 95% intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

_ROWS = {"em": "all questions", "em_one_hop": "one hop", "em_two_hop": "two hops", "em_sampled": "all, sampled at T = 1"}


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    base, trained = summary["base"], summary["trained"]
    table = Table(title=f"Exact match on unseen questions, real engine (BM25), n = {trained['n']}", title_justify="left")
    table.add_column("")
    for name in ("base", "trained"):
        table.add_column(f"{name} [95% interval]", justify="right")
    if real := summary.get("real_engine"):
        table.add_column("trained on the real engine", justify="right")
    for key, label in _ROWS.items():
        table.add_row(label, *(_cell(figures, key) for figures in (base, trained, *([real] if real else []))))
    console.print(table)
    console.print("by type: " + ", ".join(f"{name} {em:.2f}" for name, em in sorted(trained["by_type"].items(), key=lambda x: x[1])))
    card = summary["simulator"]
    console.print(
        f"simulator: P(answer | useful) {card['answer_in_useful']:.2f}, P(answer | noisy) {card['answer_in_noisy']:.2f}, "
        f"P(answer | useful, off-target query) {card['answer_off_target']:.2f} (BM25: {card['real_engine_off_target']:.2f}), "
        f"{card['documents_per_reply']:.1f} documents a reply, malformed {card['malformed_share']:.0%}"
    )
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["phases"].items())
    console.print(f"took {summary['wall_s']:.0f} s: {phases}")


def _cell(figures: Mapping[str, Any], key: str) -> str:
    low, high = figures["intervals"][key]
    return f"{figures[key]:.3f} [{low:.3f}, {high:.3f}]"
