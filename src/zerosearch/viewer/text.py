"""A trajectory in the terminal: who wrote what in colour, what was drawn, gold answers marked."""

from typing import Any

from rich.console import Console
from rich.text import Text

from zerosearch.viewer.filters import Filter
from zerosearch.viewer.run_files import Record
from zerosearch.viewer.run_view import Run

_STYLES = {"policy": "bright_blue", "environment": "yellow", "prompt": "bright_black"}
_PIECES = {"tag": "bold", "gold": "black on bright_yellow", "": ""}
_VERDICTS = {None: ("unscored", "bright_black"), 1.0: ("right", "green")}


def latest(run: Run, wanted: Filter) -> tuple[int, Record] | None:
    """The last record that matches a filter: what the run did most recently."""
    total, _ = run.index.page(wanted, 0, 1)
    _, rows = run.index.page(wanted, max(0, total - 1), 1)
    return (rows[0]["n"], run.index.record(rows[0]["n"]) or {}) if rows else None


def print_conversation(run: str, n: int, shown: dict[str, Any], console: Console) -> None:
    """The whole trajectory; text from models is never read as rich's markup."""
    em = (shown["scores"] or {}).get("em")
    verdict, colour = _VERDICTS.get(em, ("wrong", "red"))
    question = shown["question"]
    head = Text.assemble((_plain(question["text"]) or "(no question)", "bold"), "\n")
    head.append(f"{run}, record {n}, step {shown['step']} {shown['phase']}, sample {shown['sample'] or '–'}: ")
    head.append(verdict, colour)
    reward, advantage = shown["reward"], shown["advantage"]
    head.append("" if reward is None else f", reward {reward:.3g}").append("" if advantage is None else f", advantage {advantage:+.3g}")
    head.append(
        f"\ngold: {_plain(' | '.join(question['golds']))}\nanswer: {'none' if shown['answer'] is None else _plain(shown['answer'])}"
    )
    head.append(f"\nstopped: {shown['stop_reason'].replace('_', ' ')}" + (f": {_plain(shown['cause'])}" if shown["cause"] else ""))
    console.print(head, soft_wrap=True)
    for span in shown["spans"]:
        _title(span["author"], span, console)
        text = Text(style=_STYLES[span["author"]])
        for piece, kind in span["pieces"]:
            text.append(_plain(piece), _PIECES[kind])
        console.print(text, soft_wrap=True)
    for search in shown["unshown_searches"]:
        console.print(
            Text(f"\n── search {search['number']}: {_plain(search['query'])} (its reply never became part of the text)", "yellow"),
            soft_wrap=True,
        )


def _title(author: str, span: dict[str, Any], console: Console) -> None:
    title = Text(f"\n── {author}", f"bold {_STYLES[author]}")
    if span["token_count"]:
        title.append(f" · {span['token_count']:,} tokens" + (", masked" if span["masked"] else ""))
    if search := span["search"]:
        drawn = search["quality"] or "nothing (real engine)"
        title.append(f" · search {search['number']} “{_plain(search['query'])}”, drawn: ").append(
            drawn, "red" if drawn == "noisy" else "green"
        )
        title.append(f" · {_plain(search['remark'])}" if search["remark"] else "")
    console.print(title, soft_wrap=True)


def _plain(text: str) -> str:
    """Without control characters: a model must not move the cursor or colour the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
