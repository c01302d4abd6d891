"""What the study asks: the arms of its matrix, and the claims, each with the paper's words, the paper's figure and a rule that decides.

An arm is the study's common recipe with a few settings changed; every arm of a seed starts from the same world, policy and simulator, so
differences are taken seed by seed. An arm serves every claim that names it and is run once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zerosearch.lab.streams import Sloppiness

Changes = Mapping[str, Mapping[str, Any]]  # section → key → value, put on top of the common recipe


@dataclass(frozen=True, slots=True)
class Arm:
    """`policy` and `simulator` name models of the seed's folder (MODELS). `long`: the quickstart's own recipe and budget.

    `agent`: nothing is trained; the starting policy answers as this agent of `evaluation.agents` does. `seeds`: how many it has at most,
    None: as many as the study is asked for.
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
# searches nearly always, keeps the format, copies well: what instruction tuning gives a start
INSTRUCTED = Sloppiness(searches=0.95, queries_well=0.95, second_hop=0.95, restates=0.9, copies=0.9, breaks_format=0.02)

ARMS: dict[str, Arm] = {
    "grpo": Arm("the common recipe: GRPO, tuned simulator, noise 0 → .5, F1, documents masked"),
    "unmasked": Arm("documents carry gradient too", {"rl": {"mask_observations": False}}),
    "reinforce-long": Arm("REINFORCE, the quickstart's budget", {"rl": {"algorithm": "reinforce"}}, long=True, seeds=5),
    "ppo-long": Arm("PPO, the quickstart's budget", {"rl": {"algorithm": "ppo"}}, long=True, seeds=3),
    "grpo-long": Arm("GRPO, the quickstart's budget", long=True, seeds=3),
    "real": Arm("the real engine in training (Search-R1's setting), no noise", {"engine": {"kind": "bm25"}, "curriculum": {"end": 0.0}}),
    "no-search": Arm("one turn, no search (R1's setting)", {"rollout": {"max_turns": 1}}, seeds=3),
    "rag": Arm("no training: one search with the question, then an answer", agent="rag"),
    "direct": Arm("no training: an answer at once", agent="direct"),
    "prompted": Arm("the simulator is the base model with a worked example in its prompt", simulator="prompted"),
    "small": Arm("a simulator of a quarter of the parameters", simulator="simulator-small"),
    "random": Arm("noise .5 from the first step to the last", {"curriculum": {"schedule": "constant"}}),
    "reverse": Arm("hard first: noise .5 → 0", {"curriculum": {"schedule": "reverse"}}),
    "em": Arm("exact match as the reward", {"rl": {"reward": "em"}}),
    "reinforce": Arm("REINFORCE", {"rl": {"algorithm": "reinforce"}}),
    "ppo": Arm("PPO", {"rl": {"algorithm": "ppo"}}),
    "instruct": Arm("a start that searches and keeps the format already", policy="policy-instruct"),
    "common-coin": Arm("one noise coin for a whole group", {"engine": {"share_coin_in_group": True}}),
    "guarded": Arm("replies that break their keyword are drawn again, twice at most", {"engine": {"guard_redraws": 2}}),
    "adaptive": Arm("noise follows the reward (target .4)", {"curriculum": {"schedule": "adaptive", "target": 0.4, "gain": 0.2}}),
    "simulator-350": Arm("a simulator tuned half as long", simulator="simulator-350", seeds=3),
    "simulator-150": Arm("a simulator tuned a fifth as long", simulator="simulator-150", seeds=3),
}


@dataclass(frozen=True, slots=True)
class Beats:
    """`better` − `worse` in held-out EM, seed by seed. `margin` > 0: it need only be no more than that worse."""

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
    """Searches per rollout of an arm, over its steps: they `fall` from the first, or `rise` from the lowest, or `settle` at the end."""

    arm: str
    how: Literal["fall", "rise", "settle"]


@dataclass(frozen=True, slots=True)
class Follows:
    """Held-out EM goes with the faithfulness of the simulator that the arm was trained on: Pearson's r over arms and seeds."""

    arms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RarelyCollapses:
    """Of `runs` seeds at most `allowed` end with a held-out EM below half of the best they had (noise, which rises, is not in it)."""

    arm: str
    runs: int = 20
    allowed: int = 1


Test = Beats | Reaches | Moves | Follows | RarelyCollapses


@dataclass(frozen=True, slots=True)
class Claim:
    """`paper`: what it says and its figure (EM averages over seven question sets, in points), or that the question is ours."""

    title: str
    paper: str
    tests: tuple[Test, ...]


OURS = "not in the paper"

# In the order in which their runs are made.
CLAIMS: dict[str, Claim] = {
    "masking": Claim(
        "Masking the documents helps", "Llama-3B: 36.07 masked, 34.53 not; first version: 5 points of F1", (Beats("grpo", "unmasked"),)
    ),
    "algorithms": Claim(
        "REINFORCE, GRPO and PPO all learn it, in the quickstart's budget",
        "Qwen-3B: REINFORCE 34.47, GRPO 33.17, PPO 32.67",
        (Reaches("reinforce-long", 0.65), Reaches("ppo-long", 0.65), Reaches("grpo-long", 0.65)),
    ),
    "ranking": Claim(
        "REINFORCE beats GRPO beats PPO",
        "Qwen-3B: REINFORCE 34.47, GRPO 33.17, PPO 32.67",
        (Beats("reinforce", "grpo"), Beats("grpo", "ppo")),
    ),
    "searches": Claim(
        "Searches per rollout fall, rise, then settle",
        "a drop, a rise, then steady near 1.6–2.2",
        (Moves("grpo", "fall"), Moves("grpo", "rise"), Moves("grpo", "settle")),
    ),
    "real-engine": Claim(
        "A simulator trains as well as the real engine",
        "Qwen-3B: Google 32.81, simulator 7B 33.53, 14B 34.47",
        (Beats("grpo", "real", margin=0.05), Beats("grpo", "real")),
    ),
    "baselines": Claim(
        "It beats RL without search, RAG and direct answers",
        "Qwen-3B: ZeroSearch 34.47, R1 18.54, RAG 25.09, direct 15.00",
        (Beats("grpo", "no-search"), Beats("grpo", "rag"), Beats("grpo", "direct")),
    ),
    "curriculum": Claim(
        "Easy first beats random noise, and random beats hard first",
        "Qwen-3B: easy → hard 34.47, random (p = .5) 32.59; hard → easy was worse (first version)",
        (Beats("grpo", "random"), Beats("random", "reverse"), Beats("grpo", "reverse")),
    ),
    "tuned-simulator": Claim(
        "A tuned simulator beats a prompted one", "3B: 30.47 tuned, 29.44 prompted; 14B: 34.47, 31.50", (Beats("grpo", "prompted"),)
    ),
    "bigger-simulator": Claim("A bigger simulator beats a smaller one", "3B 30.47, 7B 33.53, 14B 34.47", (Beats("grpo", "small"),)),
    "reward": Claim("F1 as the reward beats EM", "EM breeds over-cautious or padded answers (no figure)", (Beats("grpo", "em"),)),
    "start": Claim(
        "A base model is as good a start as an instructed one",
        "Qwen-3B: base 34.47, instruct 31.70; 7B: 40.93, 39.08",
        (Beats("grpo", "instruct", margin=0.05), Beats("grpo", "instruct")),
    ),
    "common-coin": Claim("One noise coin for a group teaches more", OURS, (Beats("common-coin", "grpo"),)),
    "guard": Claim("Drawing again what breaks its keyword helps", OURS, (Beats("guarded", "grpo"),)),
    "adaptive": Claim("Noise that follows the reward beats the paper's schedule", OURS, (Beats("adaptive", "grpo"),)),
    "faithfulness": Claim(
        "The more faithful the simulator, the better the policy",
        OURS,
        (Follows(("grpo", "simulator-350", "simulator-150", "small", "prompted")),),
    ),
    "collapse": Claim("GRPO rarely collapses", "said to be steadier than PPO (no figure)", (RarelyCollapses("grpo"),)),
}


def arms_of(test: Test) -> tuple[str, ...]:
    match test:
        case Beats(better, worse):
            return better, worse
        case Follows(arms):
            return arms
        case _:
            return (test.arm,)
