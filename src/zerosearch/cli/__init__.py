"""The command line. Exit codes: 0 done, 1 ran but failed, 2 bad input; on 2 exactly one line on stderr.

training.py     quickstart, train
evaluation.py   evaluate, ask, rescore, compare, cost, gap
engines.py      index, search, recall
simulator.py    collect, label, tune, card
options.py      the options several commands share
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from zerosearch.cli import engines, evaluation, simulator, training
from zerosearch.errors import ZeroSearchError

# typer brings a click of its own and shows only some of its names; this is the parent of all complaints about the words typed
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="zerosearch",
    help="Teach a language model to search by reinforcement learning against a simulated search engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    training.quickstart,
    training.train,
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
):
    app.command()(command)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    try:
        code = app(list(arguments), standalone_mode=False)
    except ZeroSearchError as error:
        return _complain(str(error), error.exit_code)
    except UsageError as error:
        return _complain(f"{getattr(error, 'message', error)} (zerosearch --help lists what there is)", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted; what was finished is saved: run the same command again (train: with --resume) to go on.", 1)
    return code if isinstance(code, int) else 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def _complain(message: str, code: int) -> int:
    print(f"zerosearch: {' '.join(message.split())}", file=sys.stderr)
    return code
