"""Trackers: TensorBoard, Weights & Biases and trackio get each row of `metrics.jsonl` as it is written. One recipe key: `run.trackers`.

The file is the record. A tracker that cannot be reached, at the start or later, costs a line on stderr and is left out from
then on. A new tracker is a class with `log` and `close`, and an entry in TRACKERS.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

from zerosearch.core.errors import BadConfig, one_line
from zerosearch.core.install import not_installed
from zerosearch.core.registry import name_of, resolve
from zerosearch.runs.directory import RunDirectory

Row = Mapping[str, Any]
LogFunction = Callable[[Mapping[str, float], int], None]


@runtime_checkable
class Tracker(Protocol):
    def log(self, figures: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run directory: `tensorboard --logdir RUN`."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """Offline unless the environment's WANDB_MODE says otherwise: `wandb sync RUN/wandb/offline-…` sends it later."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project="zerosearch",
            name=run.name,
            id=blake2b(str(run.resolve()).encode(), digest_size=8).hexdigest(),
            dir=str(run),
            config=dict(config),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            resume="allow",
            settings=wandb.Settings(silent=True, init_timeout=30, console="off"),
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        # a step may have two rows, and a resumed run repeats some: wandb's own counter would refuse them
        self._run.log({**figures, "step": step})

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """Stored with trackio's projects: `trackio show --project zerosearch`."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        import trackio

        self._trackio = trackio
        self._run = trackio.init(
            project="zerosearch", name=run.name, config=dict(config), resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._trackio.finish()  # the module's function; otherwise trackio finishes the run, and reports it, a second time at exit


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio}


def require_there(trackers: Iterable[str | Tracker | LogFunction]) -> None:
    """Raises BadConfig for a tracker whose package is not installed, or a module:name that cannot be loaded."""
    for name in trackers:
        if not isinstance(name, str) or ":" in name:
            resolve("tracker", name)
        elif find_spec(name) is None:
            raise BadConfig(not_installed(f"the tracker {name} of run.trackers", f"the package {name}", "track", "leave it out"))


class FunctionTracker:
    """A tracker around a function `(figures, step)`."""

    def __init__(self, function: LogFunction) -> None:
        self._function = function

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._function(figures, step)

    def close(self) -> None: ...


def _opened(given: str | Tracker | LogFunction, run: Path, config: Mapping[str, Any], trackers: Mapping[str, Any]) -> Tracker:
    """Open a named tracker for this run; take the user's object or function as it is."""
    if isinstance(given, str) and ":" not in given:
        return trackers[given](run, config)
    found = resolve("tracker", given)
    return found if isinstance(found, Tracker) else FunctionTracker(found)


@contextmanager
def tracked(
    run: RunDirectory,
    names: Iterable[str | Tracker | LogFunction],
    config: Mapping[str, Any],
    console: Console,
    trackers: Mapping[str, Callable[[Path, Mapping[str, Any]], Tracker]] = TRACKERS,
) -> Iterator[None]:
    """While in this block, every row that `run` takes goes to the trackers in `names` as well."""
    live: dict[str, Tracker] = {}

    def attempt(name: str, what: str, work: Callable[[], Any]) -> Any:
        try:
            with redirect_stdout(sys.stderr):  # some print a greeting; stdout is for the output of --json -
                return work()
        except Exception as error:  # whatever its network, its disk or its login raise
            live.pop(name, None)
            why = one_line(f"{type(error).__name__}: {error}")
            told = f"{name} {what} ({why}); the run continues without it, metrics.jsonl is complete"
            console.print(told, highlight=False, soft_wrap=True)

    def follow(row: Row) -> None:
        figures = flat(row)
        for name, tracker in list(live.items()):
            attempt(name, "can no longer be reached", lambda tracker=tracker: tracker.log(figures, int(row["step"])))

    for given in names:
        name = name_of(given)
        if tracker := attempt(name, "cannot be reached", lambda given=given: _opened(given, run.path, config, trackers)):
            live[name] = tracker
    run.followers.append(follow)
    try:
        yield
    finally:
        run.followers.remove(follow)
        for name, tracker in list(live.items()):
            attempt(name, "could not be closed", tracker.close)


def flat(row: Row) -> dict[str, float]:
    """`train/reward`, `evaluate/em`: the numbers of a row, an interval as its mean, a table by its keys."""
    return dict(_numbers(str(row["kind"]), {key: value for key, value in row.items() if key not in ("kind", "step")}))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        if "mean" in value:
            yield name, float(value["mean"])
            return
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value)
