"""PPO's step against GRPO's on the same rollouts: the critic shares the policy's trunk, and its values come with the sampled tokens.

    OMP_NUM_THREADS=1 python benchmarks/ppo_step.py --json -

`ratio` is PPO ÷ GRPO of a whole step (rollouts and learning), in CPU seconds; `learning_ratio` that of the learning alone. The rollouts
are sampled by our sampler, with a critic and without; both learners get the same ones. GRPO and PPO take turns; medians after a warm-up.
Both have the KL term that every recipe has by default; `…_without_kl` is without, so that GRPO needs no pass of the reference, and
`…_estimated` is PPO (without KL) on rollouts without values, for which the critic makes a separate pass.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from updates import random_model, rollouts

from zerosearch.cli.options import write_json
from zerosearch.core.types import Author, Group, Sampling, Span, Trajectory
from zerosearch.lab.language import make_tokenizer
from zerosearch.models.causal import value_head
from zerosearch.models.sampler import Sampler
from zerosearch.rl.learner import Learner
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.train import learn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=192, help="tokens per rollout, half of them the policy's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = random_model(max(len(tokenizer), 2048))
    shapes = rollouts(options.rollouts, options.tokens, 8, int(model.config.vocab_size))
    critic, sampling = value_head(model), dict[str, list[float]]()
    for _ in range(options.repeats + 1):
        for name, head in (("grpo", None), ("ppo", critic)):
            groups, spent = roll_out(model, tokenizer, shapes, head)
            sampling.setdefault(name, []).append(spent)
    rollout_s = {name: median(times[1:]) for name, times in sampling.items()}
    bare = [replace(g, trajectories=tuple(without_values(t) for t in g.trajectories)) for g in groups]
    cases = {
        "grpo with KL": ("grpo", 0.001, groups),
        "ppo with KL": ("ppo", 0.001, groups),
        "grpo": ("grpo", 0.0, groups),
        "ppo": ("ppo", 0.0, groups),
        "ppo estimated": ("ppo", 0.0, bare),
    }
    learners = {
        case: Learner(copy.deepcopy(model), copy.deepcopy(model) if kl else None, RLConfig(algorithm=name, kl_coefficient=kl), 1.0, 0)
        for case, (name, kl, _) in cases.items()
    }
    learning: dict[str, list[float]] = {case: [] for case in cases}
    for repeat in range(options.repeats + 1):
        for case, learner in learners.items():
            started = time.process_time()
            learn(cases[case][2], repeat, 0, learner)
            learning[case].append(time.process_time() - started)
    learning_s = {case: median(times[1:]) for case, times in learning.items()}

    def ratio(ours: str, theirs: str, values: str = "ppo") -> float:
        return (rollout_s[values] + learning_s[ours]) / (rollout_s["grpo"] + learning_s[theirs])

    result = {
        "ratio": ratio("ppo with KL", "grpo with KL"),
        "ratio_without_kl": ratio("ppo", "grpo"),
        "ratio_estimated": ratio("ppo estimated", "grpo", "grpo"),
        "learning_ratio": learning_s["ppo with KL"] / learning_s["grpo with KL"],
        "learning_ratio_without_kl": learning_s["ppo"] / learning_s["grpo"],
        "learning_ratio_estimated": learning_s["ppo estimated"] / learning_s["grpo"],
        "learning_cpu_s": learning_s,
        "rollout_cpu_s": rollout_s,
        "rollouts": options.rollouts,
        "tokens": options.tokens,
        "repeats": options.repeats,
        "machine": f"{platform.machine()}, {platform.platform()}, 1 thread",
        "torch": torch.__version__,
    }
    write_json(result, options.json)


def roll_out(model: Any, tokenizer: Any, shapes: Sequence[Group], critic: Any) -> tuple[list[Group], float]:
    """Rollouts of two turns in the shapes given, the policy's spans sampled anew, and the CPU seconds that took."""
    sampler = Sampler(model, tokenizer)
    sampler.critic = critic

    async def one(number: int, t: Trajectory) -> Trajectory:
        spans = list(t.spans)
        for turn in (1, 3):
            ids = [i for span in spans[:turn] for i in span.token_ids]
            sampling = Sampling(len(spans[turn].token_ids), 1.0, 1.0, (), number)
            found = await sampler.generate(ids, sampling, str(number))
            spans[turn] = Span(Author.POLICY, found.token_ids, "", found.logprobs, found.values)
        sampler.close(str(number))
        return replace(t, spans=tuple(spans))

    async def all_of_them() -> list[Trajectory]:
        return await asyncio.gather(*(one(i, t) for i, t in enumerate(t for g in shapes for t in g.trajectories)))

    started = time.process_time()
    made = iter(asyncio.run(all_of_them()))
    spent = time.process_time() - started
    return [replace(g, trajectories=tuple(next(made) for _ in g.trajectories)) for g in shapes], spent


def without_values(trajectory: Trajectory) -> Trajectory:
    return replace(trajectory, spans=tuple(replace(span, values=()) for span in trajectory.spans))


if __name__ == "__main__":
    main()
