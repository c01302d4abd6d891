"""PPO's learning step against GRPO's on the same rollouts: the critic shares the policy's trunk, so it costs a pass without a gradient.

    OMP_NUM_THREADS=1 python benchmarks/ppo_step.py --json -

`ratio` is PPO ÷ GRPO of a whole step (rollouts and learning), in CPU seconds; `learning_ratio` that of the learning alone. The rollouts
are sampled by our sampler; both learners get the same ones. GRPO and PPO take turns; medians after a warm-up. Both have the KL term that
every recipe has by default; `ratio_without_kl` is without, where GRPO has no pass of the reference to pay for.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import platform
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from updates import random_model, rollouts

from zerosearch.cli.options import write_json
from zerosearch.config import RLConfig
from zerosearch.lab.language import make_tokenizer
from zerosearch.models.sampler import Sampler
from zerosearch.rl.update import Learner
from zerosearch.types import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=192, help="of a rollout; half of them the policy's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default="-")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    model = random_model(max(len(tokenizer), 2048))
    groups = rollouts(options.rollouts, options.tokens, 8, int(model.config.vocab_size))
    learners = {
        (name, kl): Learner(copy.deepcopy(model), copy.deepcopy(model) if kl else None, RLConfig(algorithm=name, kl_coefficient=kl), 1.0, 0)
        for name in ("grpo", "ppo")
        for kl in (0.001, 0.0)
    }
    times: dict[tuple[str, float], list[float]] = {key: [] for key in learners}
    for repeat in range(options.repeats + 1):
        for key, learner in learners.items():
            started = time.process_time()
            learner.learn(groups, repeat, 0)
            times[key].append(time.process_time() - started)
    rollout_s = median([rollout(model, tokenizer, groups) for _ in range(4)][1:])
    seconds = {key: median(of_key[1:]) for key, of_key in times.items()}

    def ratio(kl: float, around: float) -> float:
        return (around + seconds["ppo", kl]) / (around + seconds["grpo", kl])

    result = {
        "ratio": ratio(0.001, rollout_s),
        "ratio_without_kl": ratio(0.0, rollout_s),
        "learning_ratio": ratio(0.001, 0.0),
        "learning_ratio_without_kl": ratio(0.0, 0.0),
        "learning_cpu_s": {f"{name}{' with KL' if kl else ''}": value for (name, kl), value in seconds.items()},
        "rollout_cpu_s": rollout_s,
        "rollouts": options.rollouts,
        "tokens": options.tokens,
        "repeats": options.repeats,
        "machine": f"{platform.machine()}, {platform.platform()}, 1 thread",
        "torch": torch.__version__,
    }
    write_json(result, options.json)


def rollout(model: Any, tokenizer: Any, groups: list[Any]) -> float:
    """CPU seconds to sample as many tokens in two turns as the rollouts have, with their documents read in between."""
    sampler, trajectories = Sampler(model, tokenizer), [t for g in groups for t in g.trajectories]

    async def one(number: int, t: Any) -> None:
        ids = list(t.spans[0].token_ids)
        for turn in (1, 3):
            sampling = Sampling(len(t.spans[turn].token_ids), 1.0, 1.0, (), number)
            generation = await sampler.generate(ids, sampling, str(number))
            ids += list(generation.token_ids)
            ids += list(t.spans[2].token_ids) if turn == 1 else []
        sampler.close(str(number))

    async def all_of_them() -> None:
        await asyncio.gather(*(one(i, t) for i, t in enumerate(trajectories)))

    started = time.process_time()
    asyncio.run(all_of_them())
    return time.process_time() - started


if __name__ == "__main__":
    main()
