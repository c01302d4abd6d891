"""Your own algorithm: advantages from rewards, and a loss from advantages. Here: RLOO's baseline, and a loss clipped on one side only.

python examples/custom_algorithm.py
"""

import torch

import zerosearch as zs
from zerosearch.lab.tiny import tiny_world


def advantages(groups: list) -> list:
    """Rewards of a step, one list per question -> advantages in the same places; None is a rollout that failed, and stays None."""

    def of_group(rewards: list) -> list:
        known = [r for r in rewards if r is not None]
        return [None if r is None else r - (sum(known) - r) / max(len(known) - 1, 1) for r in rewards]  # the mean of the others

    return [of_group(rewards) for rewards in groups]


def loss(logprobs_M, old_logprobs_M, advantages_M, clip, clip_high, rows_M):
    """One value per trained token (M of them); `rows_M` says which rollout each belongs to."""
    ratio_M = (logprobs_M - old_logprobs_M).exp()
    return -advantages_M * torch.minimum(ratio_M, torch.full_like(ratio_M, 1 + clip))


world = tiny_world("runs/tiny")  # a policy of 0.3M parameters, questions and passages, made in seconds
rl = {"steps": 5, "questions_per_step": 4, "group_size": 8, "learning_rate": 1e-3, "minibatches": 2}
rollout = {"prompt": "micro", "max_turns": 3, "max_turn_tokens": 24, "max_observation_tokens": 60, "max_tokens": 200}
run = zs.train(
    world / "policy", world / "questions.jsonl", engine=zs.BM25Engine(world / "corpus.jsonl"), rl=rl, rollout=rollout,
    algorithm=zs.Algorithm(advantages, loss, smallest_group=2), run={"workers": 2}, out="runs/custom_algorithm",
)  # fmt: skip
print([round(row["reward"], 2) for row in run.metrics])
