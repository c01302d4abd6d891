"""What the study asks (claims.toml): the arms of its matrix, and the claims, with the paper's statement and figures and a deciding rule.

An arm is the study's common recipe with a few settings changed; every arm of a seed starts from the same world, policy and simulator, so
differences are taken seed by seed. An arm is run once and serves every claim that names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zerosearch.core.templates import read_texts
from zerosearch.lab.streams import Sloppiness

Changes = Mapping[str, Mapping[str, Any]]  # section → key → value, applied to the common recipe


@dataclass(frozen=True, slots=True)
class Arm:
    """`policy` and `simulator` name models of the seed's folder (MODELS). `long`: the quickstart's own recipe and budget.

    `agent`: nothing is trained; the starting policy answers as this agent of `rollout.agents`. `seeds`: the most it has;
    None: as many as the study runs.
    """

    about: str
    changes: Changes = field(default_factory=dict[str, Mapping[str, Any]])
    policy: str = "policy"
    simulator: str = "simulator"
    long: bool = False
    agent: str = ""
    seeds: int | None = None


# Models of a seed's folder beside the quickstart's base, policy and simulator: name → how it is made.
TUNED_SHARE = {"simulator": 1.0, "simulator-350": 1 / 2, "simulator-150": 3 / 14}  # of the 700 steps of tuning
SMALL_WIDTH = 64  # 0.34M parameters become 0.1M
# searches nearly always, keeps the format, copies well: like a start from an instruction-tuned model
INSTRUCTED = Sloppiness(searches=0.95, queries_well=0.95, second_hop=0.95, restates=0.9, copies=0.9, breaks_format=0.02)

_TEXTS = read_texts(__file__, "claims.toml")
ARMS: dict[str, Arm] = {name: Arm(**fields) for name, fields in _TEXTS["arms"].items()}


@dataclass(frozen=True, slots=True)
class Beats:
    """`better` − `worse` in held-out EM, seed by seed. `margin` > 0: it may be worse by up to that."""

    better: str
    worse: str
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Reaches:
    """The mean held-out EM of an arm reaches `level`."""

    arm: str
    level: float


@dataclass(frozen=True, slots=True)
class Moves:
    """Searches per rollout of an arm, over its steps: they `fall` from the first step, `rise` from the lowest, or `settle` at the end."""

    arm: str
    how: Literal["fall", "rise", "settle"]


@dataclass(frozen=True, slots=True)
class Follows:
    """Held-out EM correlates with the faithfulness of the simulator that the arm was trained on: Pearson's r over arms and seeds."""

    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RarelyCollapses:
    """Of `runs` seeds at most `allowed` end with a held-out EM below half of the best they had (which rising noise does not affect)."""

    arm: str
    runs: int = 20
    allowed: int = 1


Test = Beats | Reaches | Moves | Follows | RarelyCollapses


OURS = "not in the paper"


@dataclass(frozen=True, slots=True)
class Claim:
    """`paper`: its statement and figure (EM averages over seven question sets, in points), or that the question is ours."""

    title: str
    paper: str
    tests: tuple[Test, ...]


def _test(fields: Mapping[str, Any]) -> Test:
    """The test that has these fields."""
    kinds = {"better": Beats, "level": Reaches, "how": Moves, "runs": RarelyCollapses}
    if "arms" in fields:
        return Follows(tuple(fields["arms"]))
    return next(kind for field, kind in kinds.items() if field in fields)(**fields)


# in the order in which their runs are made
CLAIMS: dict[str, Claim] = {
    name: Claim(fields["title"], fields.get("paper", OURS), tuple(_test(test) for test in fields["tests"]))
    for name, fields in _TEXTS["claims"].items()
}


def arms_of(test: Test) -> tuple[str, ...]:
    match test:
        case Beats(better, worse):
            return better, worse
        case Follows(arms):
            return arms
        case _:
            return (test.arm,)
