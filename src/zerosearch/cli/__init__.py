"""The command line. Exit codes: 0 done, 1 ran but failed, 2 bad input; on 2 exactly one line on stderr.

training.py     quickstart, train, recipes, study
evaluation.py   evaluate, ask, rescore, compare, cost, gap
engines.py      index, search, recall
simulator.py    collect, label, tune, card
serving.py      serve
viewer.py       view, report
cluster.py      export, size
options.py      the options several commands share
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from zerosearch.cli import cluster, engines, evaluation, serving, simulator, training, viewer
from zerosearch.core.errors import ZeroSearchError
from zerosearch.core.version import __version__
from zerosearch.runs.interrupts import ignore_interrupts, interrupt_on_terminate

# typer brings a click of its own and shows only some of its names; this is the parent of all complaints about the words typed
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt

app = typer.Typer(
    name="zerosearch",
    help="Teach a language model to search by reinforcement learning against a simulated search engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"zerosearch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """What may stand before a command."""


for command in (
    training.quickstart,
    training.train,
    training.recipes,
    training.study,
    evaluation.evaluate,
    evaluation.ask,
    evaluation.rescore,
    evaluation.compare,
    evaluation.cost,
    evaluation.gap,
    engines.index,
    engines.search,
    engines.recall,
    simulator.collect,
    simulator.label,
    simulator.tune,
    simulator.card,
    viewer.view,
    viewer.report,
    serving.serve,
    cluster.size,
):
    app.command()(command)
app.add_typer(cluster.export, name="export")


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except ZeroSearchError as error:
        return _complain(str(error), error.exit_code)
    except UsageError as error:
        said = getattr(error, "format_message", error.__str__)()  # its `message` alone names no option
        return _complain(f"{said} (zerosearch --help lists what there is)", 2)
    except OSError as error:
        return _complain(f"cannot read or write {error.filename or 'a file'} ({error.strerror or error}); mend that and try again.", 1)
    if code == _INTERRUPTED:  # what can go on says so itself
        return _complain("interrupted, nothing is left half written; run the same command again.", 1)
    return code if isinstance(code, int) else 0


def main() -> None:
    interrupt_on_terminate()
    code = run(sys.argv[1:])
    ignore_interrupts()  # all is said and saved: one Ctrl-C too many must not change the exit code
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    print(f"zerosearch: {' '.join(message.split())}", file=sys.stderr)
    return code
