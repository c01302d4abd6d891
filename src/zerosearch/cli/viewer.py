"""`zerosearch view` and `zerosearch report`: look at runs."""

import contextlib
import ipaddress
import os
import socket
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zerosearch.cli.options import console, to_file
from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.core.install import not_installed
from zerosearch.net.listener import bind


def view(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Directories of runs, evaluations or studies, or folders with some; left out: runs.", metavar="RUN…", readable=False
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The next free one is taken when it is not.")] = 8321,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, if this terminal has one.")] = True,
    text: Annotated[bool, typer.Option("--text", help="Print one trajectory here instead: the latest that fits.")] = False,
    record: Annotated[int | None, typer.Option("--record", min=0, help="With --text: this one.", metavar="N")] = None,
    question: Annotated[str, typer.Option("--question", help="With --text: with these words in its question.")] = "",
    step: Annotated[int | None, typer.Option("--step", min=0, help="With --text: of this step.")] = None,
    score: Annotated[str, typer.Option("--score", help="With --text: right, wrong or unscored.")] = "",
    host: Annotated[str, typer.Option("--host", hidden=True)] = "127.0.0.1",
) -> None:
    """Look at runs in a browser, live while they train."""
    from zerosearch.viewer.run_view import find, open_runs

    _require_loopback(host, port)
    if not runs and not Path("runs").is_dir():
        raise BadFile("there is no folder named runs here; name one: zerosearch view RUN.")
    paths, studies = find(runs or [Path("runs")])
    if text:
        _print_one(paths, record, question, step, score)
        return
    if record is not None or question or step is not None or score:
        raise BadConfig("--record, --question, --step and --score are for --text; the page has filters of its own.")
    from zerosearch.viewer.api import Api

    try:
        from zerosearch.viewer.server import serve
    except ImportError as error:
        raise BadConfig(not_installed("the live page", "FastAPI", "view", "write a file with zerosearch report RUN")) from error
    api = Api(open_runs(paths, keep_index=True), studies)
    listener = bind("127.0.0.1", port, search=True)
    taken = listener.getsockname()[1]
    if taken != port:
        console.print(f"port {port} is taken; {taken} is free", highlight=False)
    console.print(
        f"from another machine: ssh -L {taken}:127.0.0.1:{taken} {socket.gethostname()}, then the same address; Ctrl-C ends it",
        soft_wrap=True,
        highlight=False,
    )
    with contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{taken}/", flush=True)
        has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32")
        if open_browser and sys.stdout.isatty() and has_screen:
            webbrowser.open(f"http://127.0.0.1:{taken}/")
        serve(api, listener)


def report(
    run: Annotated[Path, typer.Argument(help="The directory of a run, an evaluation or a study.", metavar="RUN", readable=False)],
    out: Annotated[Path | None, to_file("--out", help="By default report.html in the run.")] = None,
) -> None:
    """Write the page of a run as one HTML file that opens without a network."""
    from zerosearch.viewer.report import write_report

    print(write_report(run, out=out))


def _require_loopback(host: str, port: int) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BadConfig(
            f"--host {host}: the viewer shows your runs to this machine only; on the other one open a tunnel: "
            f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}, then http://127.0.0.1:{port}/ there."
        )


def _print_one(paths: list[Path], record: int | None, question: str, step: int | None, score: str) -> None:
    from zerosearch.viewer.api import shown
    from zerosearch.viewer.filters import Filter
    from zerosearch.viewer.run_view import open_runs
    from zerosearch.viewer.text import latest, print_conversation

    if not paths:
        raise BadFile("there is no run here, only a study; --text prints a trajectory of a run.")
    run = open_runs(paths[:1], keep_index=True)[0]
    run.index.refresh()
    if record is not None:
        found = (record, kept) if (kept := run.index.record(record)) else None
    else:
        found = latest(run, Filter(text=question, step_from=step, step_to=step, score=score))
    if found is None:
        raise BadConfig(" ".join([f"'{run.path}' has no such trajectory; it has {len(run.index):,}.", *run.notes]))
    print_conversation(run.key, found[0], shown(run, *found, None), Console())
