"""One step's learning, against a loop over tokens that anybody can check."""

import asyncio
import copy
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.tiny import model as tiny_model
from models.tiny import word_level
from scripted import ScriptedEngine
from zerosearch.core.types import Author, Question, Span, StopReason, Trajectory
from zerosearch.lab.base_model import build_model
from zerosearch.models.local import LocalModel
from zerosearch.rl.batch import TrainingExample, teaches, trained_token_count
from zerosearch.rl.learner import Learner
from zerosearch.rl.losses import clipped_policy_loss, kl_k3
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.train import learn, update
from zerosearch.rl.training_examples import sampled_values
from zerosearch.rollout.environment import SearchEnvironment
from zerosearch.rollout.loop import RolloutSettings, rollout_group
from zerosearch.rollout.prompts import PolicyPrompt

VOCABULARY = 40
QUESTION = Question("q", "?", ("a",))
POLICY, ENVIRONMENT = Author.POLICY, Author.ENVIRONMENT


@pytest.fixture
def model() -> Any:
    return build_model(VOCABULARY, seed=1, context=64).eval()


def logprobs_of(model: Any, ids: Sequence[int], temperature: float = 1.0) -> torch.Tensor:
    """log p of each token but the first, by a plain forward pass of the whole model."""
    logits_TV = model(torch.tensor([ids])).logits[0, :-1] / temperature
    return torch.log_softmax(logits_TV, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def rolled_out(
    model: Any, lengths: Iterable[tuple[Author, int]], advantage: float | None, seed: int, temperature: float = 1.0
) -> Trajectory:
    """A trajectory of random tokens, with the log-probs the model gives them now."""
    rng = random.Random(seed)
    authors = [Author.PROMPT] * 3 + [author for author, length in lengths for _ in range(length)]
    ids = [rng.randrange(3, VOCABULARY) for _ in authors]
    with torch.no_grad():
        logprobs = [0.0, *logprobs_of(model, ids, temperature).tolist()]
    spans = tuple(Span(a, (i,), "", (lp,) if a is POLICY else ()) for a, i, lp in zip(authors, ids, logprobs, strict=True))
    return Trajectory(QUESTION, seed, spans, (), StopReason.ANSWERED, advantage=advantage)


def some(model: Any, temperature: float = 1.0) -> list[Trajectory]:
    """Ragged, with documents between turns, and of both signs."""
    shapes = [
        ([(POLICY, 4), (ENVIRONMENT, 9), (POLICY, 3)], 1.0),
        ([(POLICY, 2)], -0.7),
        ([(POLICY, 5), (ENVIRONMENT, 20), (POLICY, 1), (ENVIRONMENT, 2), (POLICY, 6)], -0.4),
        ([(POLICY, 8), (ENVIRONMENT, 4)], 0.9),
    ]
    return [rolled_out(model, lengths, advantage, seed, temperature) for seed, (lengths, advantage) in enumerate(shapes)]


def examples_of(*trajectories: Trajectory, masked: bool = True) -> list[TrainingExample]:
    """One advantage for all of a rollout's trained tokens, as every algorithm without a critic has it."""
    return [TrainingExample(t, (t.advantage or 0.0,) * trained_token_count(t, masked)) for t in trajectories if teaches(t)]


class KeepsGradients(torch.optim.SGD):
    """Takes no step: each call keeps the gradient, in one long vector."""

    def __init__(self, model: Any) -> None:
        super().__init__(model.parameters(), lr=1.0)
        self.gradients: list[torch.Tensor] = []

    def step(self, closure: Any = None) -> None:
        self.gradients.append(torch.cat([p.grad.flatten().clone() for group in self.param_groups for p in group["params"]]))


def gradient(
    model: Any, trajectories: Sequence[Trajectory], reference: Any = None, **settings: Any
) -> tuple[torch.Tensor, dict[str, float]]:
    learner = Learner(model, reference, RLConfig(max_grad_norm=1e9, **settings), temperature=1.0, pad_id=0)
    learner.optimizer = keeper = KeepsGradients(model)  # type: ignore[assignment]
    metrics = update(examples_of(*trajectories, masked=learner.config.mask_observations), 0, 0, learner)
    assert len(keeper.gradients) == 1
    return keeper.gradients[0], metrics


def by_hand(model: Any, trajectories: Sequence[Trajectory], reference: Any, trained: tuple[Author, ...]) -> tuple[torch.Tensor, float]:
    """Loss and gradient, token by token: mean of clipped loss + 0.1 · k3 over the tokens whose author is in `trained`."""
    losses: list[torch.Tensor] = []
    for trajectory in trajectories:
        now, then = logprobs_of(model, trajectory.token_ids), logprobs_of(reference, trajectory.token_ids).detach()
        for t, span in enumerate(trajectory.spans):  # one token a span
            if span.author in trained:
                old = torch.tensor(span.logprobs[0]) if span.author is POLICY else now[t - 1].detach()
                losses.append(
                    clipped_policy_loss(now[t - 1], old, torch.tensor(trajectory.advantage), 0.2) + 0.1 * kl_k3(now[t - 1], then[t - 1])
                )
    loss = torch.stack(losses).mean()
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), float(loss.detach())


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def old_logprobs_moved(trajectories: Sequence[Trajectory], by: float) -> list[Trajectory]:
    """As if sampled by an older policy, so that ratios are not 1 and some are clipped."""
    moved = (
        tuple(replace(s, logprobs=tuple(lp + by * (-1) ** i for lp in s.logprobs)) for i, s in enumerate(t.spans)) for t in trajectories
    )
    return [replace(t, spans=spans) for t, spans in zip(trajectories, moved, strict=True)]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_loss_and_gradient_by_hand(model: Any, masked: bool, drift: float) -> None:
    trajectories = old_logprobs_moved(some(model), drift)
    reference = build_model(VOCABULARY, seed=2, context=64).eval()
    trained = (POLICY,) if masked else (POLICY, ENVIRONMENT)
    expected, loss = by_hand(model, trajectories, reference, trained)
    model.zero_grad()
    found, metrics = gradient(model, trajectories, reference, kl_coefficient=0.1, mask_observations=masked)
    assert distance(found, expected) < 1e-5
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["trained_tokens"] == sum(s.author in trained for t in trajectories for s in t.spans)


def test_masked_means_masked(model: Any) -> None:
    """Nothing that hangs on a document's tokens reaches loss or gradient; only the tokens themselves do, as context."""
    trajectories, reference = some(model), build_model(VOCABULARY, seed=2, context=64).eval()
    junk = [
        replace(t, spans=tuple(s if s.author is POLICY else replace(s, logprobs=(7.0,) * len(s.token_ids)) for s in t.spans))
        for t in trajectories
    ]
    one, metrics = gradient(model, trajectories, reference)
    other, same_metrics = gradient(model, junk, reference)
    assert torch.equal(one, other) and metrics == same_metrics


def test_only_policy_tokens_reach_the_vocabulary(model: Any) -> None:
    """What is not computed can carry neither KL nor entropy nor a gradient."""
    rows: list[int] = []
    hook = model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: rows.append(output.shape[0]))
    trajectories = some(model)
    rows.clear()
    gradient(model, trajectories)
    hook.remove()
    assert rows == [sum(t.policy_token_count for t in trajectories)]


@pytest.mark.parametrize("microbatch_tokens", [1, 40, 90])
def test_microbatches_add_up_to_the_whole(model: Any, microbatch_tokens: int) -> None:
    trajectories = old_logprobs_moved(some(model), 0.1)
    whole, metrics = gradient(model, trajectories)
    parts, metrics_of_parts = gradient(model, trajectories, microbatch_tokens=microbatch_tokens)
    assert distance(parts, whole) < 1e-6
    assert metrics_of_parts == pytest.approx(metrics, rel=1e-5, abs=1e-6)


def test_what_teaches_nothing_is_left_out(model: Any) -> None:
    trajectories = some(model)
    extra = [
        rolled_out(model, [(POLICY, 5)], 0.0, seed=8),
        replace(rolled_out(model, [(POLICY, 5)], None, seed=9), stop_reason=StopReason.SEARCH_FAILED, cause="down"),
    ]
    alone, _ = gradient(model, trajectories)
    among, _ = gradient(model, [*extra, *trajectories])
    assert torch.equal(alone, among)


def learner_of(model: Any, **settings: Any) -> Learner:
    return Learner(model, None, RLConfig(**{"learning_rate": 1e-3, "warmup_steps": 0, **settings}), temperature=1.0, pad_id=0)


def weights(model: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_nothing_to_learn_changes_nothing(model: Any) -> None:
    before, learner = weights(model), learner_of(model)
    metrics = update(examples_of(rolled_out(model, [(POLICY, 5)], 0.0, seed=0)), 0, 0, learner)
    assert all(map(torch.equal, before, weights(model)))
    assert metrics["trained_tokens"] == metrics["grad_norm"] == 0 and metrics["skipped_updates"] == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_updates_push_the_right_way(model: Any, sign: float) -> None:
    trajectory = rolled_out(model, [(POLICY, 4), (ENVIRONMENT, 6), (POLICY, 3)], sign, seed=0)
    learner = learner_of(model)

    def likelihood() -> float:
        with torch.no_grad():
            return float(logprobs_of(model, trajectory.token_ids)[list(trajectory.policy_mask[1:])].sum())

    before = likelihood()
    losses = [update(examples_of(trajectory), step, 0, learner)["loss"] for step in range(6)]
    assert losses[0] == pytest.approx(-sign, abs=1e-5) and losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.05
    assert (likelihood() - before) * sign > 0.5


def test_kl_pulls_towards_the_reference(model: Any) -> None:
    learner = learner_of(model, kl_coefficient=1.0, learning_rate=1e-4)
    learner.reference = build_model(VOCABULARY, seed=2, context=64).eval()
    hardly_an_advantage = rolled_out(model, [(POLICY, 12)], 2e-6, seed=0)
    kls = [update(examples_of(hardly_an_advantage), step, 0, learner)["kl"] for step in range(5)]
    assert 0 < kls[-1] < kls[0] / 4


def test_a_reference_that_is_the_policy_costs_nothing(model: Any) -> None:
    trajectories = some(model)
    without, _ = gradient(model, trajectories)
    with_it, metrics = gradient(model, trajectories, copy.deepcopy(model), kl_coefficient=1.0)
    assert metrics["kl"] == pytest.approx(0, abs=1e-9) and distance(with_it, without) < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_mismatch_shows_whether_trainer_and_sampler_agree(model: Any, temperature: float) -> None:
    trajectories = some(model, temperature)
    config = RLConfig(learning_rate=1e-3)
    assert update(examples_of(*trajectories), 0, 0, Learner(copy.deepcopy(model), None, config, temperature, 0))["logprob_mismatch"] < 1e-5
    assert update(examples_of(*trajectories), 0, 0, Learner(copy.deepcopy(model), None, config, 0.5, 0))["logprob_mismatch"] > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_samplers_values_are_the_trainers(dtype: torch.dtype) -> None:
    """Rollouts of a group, of three turns with a remark of ours after each of the first two, at a temperature other than 1."""
    model = tiny_model("qwen3").to(dtype)
    learner, policy = Learner(model, None, RLConfig(algorithm="ppo"), 0.7, 0), LocalModel(model, word_level())
    policy.sampler.critic = learner.critic
    torch.nn.init.normal_(policy.sampler.critic.weight, 0, 0.2)
    settings = RolloutSettings(max_turns=3, max_turn_tokens=9, temperature=0.7)
    environment = SearchEnvironment(ScriptedEngine.of(), PolicyPrompt("who wrote the film ? {question}", "is ok ."), max_turns=3)
    group = asyncio.run(rollout_group(QUESTION, 4, policy, environment, settings))
    assert all([s.author for s in t.spans].count(ENVIRONMENT) == 2 for t in group.trajectories)
    limit = 1e-5 if dtype is torch.float32 else 0.1  # of values around 1
    for t, estimated in zip(group.trajectories, learner.estimates(group.trajectories), strict=True):
        assert len(estimated.values) == t.policy_token_count and sampled_values(t) == pytest.approx(estimated.values, rel=0, abs=limit)
    group = replace(group, trajectories=tuple(replace(t, reward=float(i)) for i, t in enumerate(group.trajectories)))
    assert 0 < learn([group], 0, 0, learner)[1]["value_mismatch"] < limit


def test_warm_up_and_minibatches(model: Any) -> None:
    learner = learner_of(model, warmup_steps=4, minibatches=3)
    trajectories = some(model)
    update(examples_of(*trajectories), 1, 0, learner)
    assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 2 / 4)
    assert {int(state["step"]) for state in learner.optimizer.state.values()} == {3}  # three updates
    update(examples_of(*trajectories), 7, 0, learner)
    assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_the_same_seed_gives_the_same_weights(model: Any) -> None:
    def trained(seed: int) -> list[torch.Tensor]:
        learner = learner_of(copy.deepcopy(model), minibatches=2, microbatch_tokens=60)
        for step in range(2):
            update(examples_of(*some(model)), step, seed, learner)
        return weights(learner.model)

    once, again, otherwise = trained(0), trained(0), trained(3)
    assert all(map(torch.equal, once, again))
    assert not all(map(torch.equal, once, otherwise))
