"""Your own reward: one function from a trajectory to a number. This one pays for a right answer and charges for each search.

python examples/custom_reward.py
"""

import zerosearch as zs
from zerosearch.lab.tiny import tiny_world

world = tiny_world("runs/tiny")  # a policy of 0.3M parameters, questions and passages, made in seconds


def reward(trajectory: zs.Trajectory) -> float:
    """`trajectory` has the question with its golden answers, what was written and read (spans), the searches, the answer and its scores."""
    assert trajectory.scores is not None  # a rollout that failed is never scored, and never comes here
    return trajectory.scores.f1 - 0.1 * len(trajectory.searches)


run = zs.train(
    policy=world / "policy",
    questions=world / "questions.jsonl",
    engine=zs.BM25Engine(world / "corpus.jsonl"),
    reward=reward,
    rl={"steps": 5, "questions_per_step": 4, "group_size": 8, "learning_rate": 1e-3},
    rollout={"prompt": "micro", "max_turns": 3, "max_turn_tokens": 24, "max_observation_tokens": 60, "max_tokens": 200},
    run={"workers": 2},
    out="runs/custom_reward",
)
for row in run.metrics:
    print(f"step {row['step']}  reward {row['reward']:.2f}  searches {row['searches']:.2f}")
