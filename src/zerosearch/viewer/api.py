"""The data of the page: an address and its parameters → JSON, for both the live server and the one-file report."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zerosearch.core.errors import BadConfig, BadInput
from zerosearch.viewer.comparison import compare
from zerosearch.viewer.conversations import conversation
from zerosearch.viewer.filters import Filter
from zerosearch.viewer.overview import overview
from zerosearch.viewer.run_files import mapping
from zerosearch.viewer.run_view import Run
from zerosearch.viewer.simulator import simulator
from zerosearch.viewer.study import study

Words = Mapping[str, Sequence[str]]  # a name may occur several times
_MOST_ROWS = 200


class Api:
    """`answer("trajectories", {"run": ["a"], "q": ["who"]})`. Every method reads; none writes."""

    def __init__(self, runs: Sequence[Run], studies: Sequence[Path] = ()) -> None:
        self.runs = {run.key: run for run in runs}
        self.studies = studies
        self._kept: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
        self._answers: dict[str, Callable[[Words], dict[str, Any]]] = {
            "state": lambda _: self.state(),
            "overview": lambda words: self._remembered("overview", overview, words),
            "trajectories": self.trajectories,
            "trajectory": self.trajectory,
            "simulator": lambda words: self._remembered("simulator", simulator, words),
            "compare": lambda words: self._remembered("compare", compare, words),
            "study": lambda _: study(self.studies),
        }

    def answer(self, name: str, words: Words) -> dict[str, Any]:
        """Raises BadInput for an unknown address, run or value."""
        if name not in self._answers:
            raise BadInput(f"there is no /api/{name}; choose one of: {', '.join(self._answers)}.")
        return self._answers[name](words)

    def refresh(self) -> None:
        """Read what the runs have written since the last call."""
        for run in self.runs.values():
            run.index.refresh()

    def state(self) -> dict[str, Any]:
        """One line per run; `version` changes when anything shown does."""
        states = [run.state for run in self.runs.values()]
        return {"version": str(hash(tuple(states))), "runs": [run.about() for run in self.runs.values()], "has_study": bool(self.studies)}

    def trajectories(self, words: Words) -> dict[str, Any]:
        """One page of the table."""
        run = self._one(words)
        wanted = Filter(
            text=_word(words, "q"),
            phase=_word(words, "phase"),
            step_from=_integer(words, "from"),
            step_to=_integer(words, "to"),
            score=_word(words, "score"),
            noise=_word(words, "noise"),
            stop=_word(words, "stop"),
            searches=_integer(words, "searches"),
            sort=_word(words, "sort") or "n",
            descending=_word(words, "descending") == "1",
        )
        offset, limit = _integer(words, "offset") or 0, _integer(words, "limit") or 50
        total, rows = run.index.page(wanted, max(0, offset), min(max(1, limit), _MOST_ROWS))
        return {"total": total, "offset": max(0, offset), "rows": rows, "facets": run.index.facets(), "all": len(run.index)}

    def trajectory(self, words: Words) -> dict[str, Any]:
        """One whole trajectory, with the samples of its group and the same question at other steps."""
        run = self._one(words)
        n = _integer(words, "n") or 0
        try:
            record = run.index.record(n)
        except OSError as error:
            raise BadInput(f"the trajectories of '{run.key}' cannot be read ({error}); try again in a moment.") from error
        if record is None:
            raise BadInput(f"'{run.key}' has no trajectory {n}; it has {len(run.index):,}.")
        return shown(run, n, record, run.tokenizer_file())

    def _one(self, words: Words) -> Run:
        return self._chosen(words)[0]

    def _chosen(self, words: Words) -> list[Run]:
        """The runs that are named; all of them if none is."""
        names = words.get("run") or list(self.runs)
        if unknown := [name for name in names if name not in self.runs]:
            raise BadConfig(f"there is no run '{unknown[0]}'; choose one of: {', '.join(self.runs)}.")
        if not names:
            raise BadConfig("there is no run here, only a study; open the directory of a run.")
        return [self.runs[name] for name in dict.fromkeys(names)]

    def _remembered(self, name: str, work: Callable[[Sequence[Run]], dict[str, Any]], words: Words) -> dict[str, Any]:
        """The last result of `work` for these runs, as long as they have not changed."""
        runs = self._chosen(words) if self.runs else []
        key, state = (name, "\n".join(run.key for run in runs)), [run.state for run in runs]
        if self._kept.get(key, (None, {}))[0] != state:
            self._kept[key] = (state, work(runs) if runs else {})
        return self._kept[key][1]


def shown(run: Run, n: int, record: dict[str, Any], tokenizer: Path | None) -> dict[str, Any]:
    """A record of a run in the page's form."""
    masked = mapping(run.config.get("rl")).get("mask_observations") is not False
    found = conversation(record, tokenizer, masked)
    return {"run": run.key, "n": n, **found, "group": run.index.group(n), "elsewhere": run.index.same_question(n)}


def _word(words: Words, name: str) -> str:
    return (words.get(name) or [""])[0]


def _integer(words: Words, name: str) -> int | None:
    """Raises BadConfig for what is not a whole number."""
    word = _word(words, name).strip()
    if not word:
        return None
    try:
        if abs(number := int(word)) < 2**53:
            return number
    except ValueError:
        pass
    raise BadConfig(f"{name} = {word[:40]!r} is not a whole number in its range.")
