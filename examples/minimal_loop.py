"""The whole of ZeroSearch in one screen: GRPO in a tiny world, against a simulated search engine whose noise rises.

    python examples/minimal_loop.py        # a minute on one CPU core; makes its world first, in seconds

The rooms of the package are used one by one here; `zerosearch.train` joins them, with checkpoints, several processes and a report. In this
tiny world any part of a person's name scores a little, and the policy, of 0.3M parameters, learns to answer with one.
"""

import asyncio
import random
import sys

import torch

import zerosearch as zs
from zerosearch.core.scoring import token_f1
from zerosearch.data.questions import load_questions
from zerosearch.lab.tiny import tiny_world
from zerosearch.models.local import LocalModel
from zerosearch.rollout.loop import RolloutSettings, rollout_group
from zerosearch.rollout.prompts import MICRO

STEPS, QUESTIONS, SAMPLES, CLIP = int(sys.argv[1]) if len(sys.argv) > 1 else 30, 8, 8, 0.2


def write_documents(prompt: str) -> str:
    """Plays the search engine. A language model belongs here; `zs.SimulatedEngine` takes the address of one, too."""
    quality, query, answers = prompt.split("|")
    fact = random.choice(answers.split("; ")) if quality == "useful" else "nobody"
    return f"Doc 1: {query} is {fact}."


def token_logprobs(model: torch.nn.Module, trajectory: zs.Trajectory) -> torch.Tensor:
    """Log-probability of each token after the first, given those before it."""
    ids = torch.tensor(trajectory.token_ids)
    return model(ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]


def advantages_of(rewards: torch.Tensor) -> torch.Tensor:
    """GRPO: how much better a rollout is than the others of its question (arXiv 2402.03300)."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-6)


def loss_of(model: torch.nn.Module, trajectory: zs.Trajectory, advantage: torch.Tensor) -> torch.Tensor:
    """PPO's clipped objective over the tokens that the policy wrote; documents are masked."""
    wrote = torch.tensor(trajectory.policy_mask[1:])
    new = token_logprobs(model, trajectory)[wrote]
    old = torch.tensor([logprob for span in trajectory.spans for logprob in span.logprobs])
    ratio = (new - old).exp()
    return -torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).sum()


async def main() -> None:
    world = tiny_world("runs/tiny")
    policy = LocalModel.load(str(world / "policy"), "cpu")
    questions = load_questions(world / "questions.jsonl")
    engine = zs.SimulatedEngine(write_documents, "{quality}|{query}|{golden_answers}")
    environment = zs.SearchEnvironment(engine, MICRO, k=1)
    settings = RolloutSettings(max_turns=3, max_turn_tokens=24, max_tokens=200)
    curriculum = zs.NoiseCurriculum("paper", end=0.5, steps=STEPS)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-3)
    random.seed(0)

    for step in range(STEPS):
        noise_rate = curriculum.noise_rate(step)
        episode = zs.Episode(seed=0, step=step, noise_rate=noise_rate)
        asked = random.sample(questions, QUESTIONS)
        groups = await asyncio.gather(*(rollout_group(q, SAMPLES, policy, environment, settings, episode) for q in asked))

        optimizer.zero_grad()
        rewards, tokens = [], sum(t.policy_token_count for group in groups for t in group.trajectories)
        for group in groups:
            scores = torch.tensor([token_f1(t.answer or "", t.question.golden_answers) for t in group.trajectories])
            for trajectory, advantage in zip(group.trajectories, advantages_of(scores), strict=True):
                (loss_of(policy.model, trajectory, advantage) / tokens).backward()
            rewards.append(scores.mean())
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        policy.sampler.forget()  # what it has cached belongs to the weights of before

        searches = sum(len(t.searches) for group in groups for t in group.trajectories) / (QUESTIONS * SAMPLES)
        print(f"step {step + 1:3}  reward {torch.stack(rewards).mean():.2f}  noise {noise_rate:.2f}  searches {searches:.2f}", flush=True)

    trajectory = await zs.arollout(questions[0], policy, environment=environment, rollout={"max_turn_tokens": 24, "max_tokens": 200})
    print("".join(span.text for span in trajectory.spans))


asyncio.run(main())
