"""What holds for every algorithm: only tokens the policy wrote count, parts add up to the whole, and a few steps change the weights."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from zerosearch.core.types import Author, Group, Question, Span, StopReason, Trajectory
from zerosearch.lab.base_model import build_model
from zerosearch.models.causal import token_logprobs
from zerosearch.rl.algorithms import ALGORITHMS, fixed_length, sequence_mean, token_mean
from zerosearch.rl.batch import make_batch
from zerosearch.rl.learner import Learner
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.train import learn
from zerosearch.rl.training_examples import TokenEstimates, make_examples

VOCABULARY = 40
QUESTION = Question("q", "?", ("a",))
POLICY, ENVIRONMENT = Author.POLICY, Author.ENVIRONMENT
SHAPES = (
    ((POLICY, 4), (ENVIRONMENT, 9), (POLICY, 3)),
    ((POLICY, 2),),
    ((POLICY, 5), (ENVIRONMENT, 20), (POLICY, 1), (ENVIRONMENT, 2), (POLICY, 6)),
    ((POLICY, 8), (ENVIRONMENT, 4)),
)
REWARDS = (1.0, 0.0, 0.25, 0.5)


@pytest.fixture(scope="module")
def model() -> Any:
    return build_model(VOCABULARY, seed=1, context=64).eval()


def rollouts(model: Any, drift: float = 0.0) -> list[Group]:
    """One group of four ragged rollouts with rewards and the log-probs of the model, moved by ±drift as if it had been an older one."""
    made = list[Trajectory]()
    for sample, (shape, reward) in enumerate(zip(SHAPES, REWARDS, strict=True)):
        generator = torch.Generator().manual_seed(sample)
        authors = [Author.PROMPT] * 3 + [author for author, length in shape for _ in range(length)]
        ids = torch.randint(3, VOCABULARY, (1, len(authors)), generator=generator)
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0].tolist()
        spans = [
            Span(a, (i,), "", (logprobs[t - 1] + drift * (-1) ** t,) if a is POLICY else ())
            for t, (a, i) in enumerate(zip(authors, ids[0].tolist(), strict=True))
        ]
        made.append(Trajectory(QUESTION, sample, tuple(spans), (), StopReason.ANSWERED, reward=reward))
    return [Group(QUESTION, tuple(made))]


def learner_of(model: Any, algorithm: str, reference: Any = None, **settings: Any) -> Learner:
    learner = Learner(
        copy.deepcopy(model), reference, RLConfig(algorithm=algorithm, **{"max_grad_norm": 1e9, "learning_rate": 1e-3, **settings}), 1.0, 0
    )
    if learner.critic:  # a critic with an opinion
        torch.nn.init.normal_(learner.critic.weight, 0, 0.1, generator=torch.Generator().manual_seed(0))
    return learner


def gradient(model: Any, algorithm: str, groups: Sequence[Group], reference: Any = None, **settings: Any) -> tuple[torch.Tensor, dict]:
    """The gradient of one update in one long vector, and its figures; no step is taken."""
    learner, kept = learner_of(model, algorithm, reference, **settings), list[torch.Tensor]()

    def keep(figures: object) -> bool:
        kept.append(torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in learner.trained.tensors]))
        return True

    _, figures = learn(groups, 0, 0, learner, None, keep)
    return kept[0], figures


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


KINDS = [dict(kl_in=place, kl_estimator=k, kl_coefficient=0.1) for place in ("loss", "reward") for k in ("k1", "k2", "k3")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_masked_means_masked(model: Any, name: str, kind: dict[str, Any]) -> None:
    """Numbers that hang on a document's tokens reach neither loss nor gradient; the vocabulary and the critic never see those places."""
    reference = build_model(VOCABULARY, seed=2, context=64).eval()
    groups = rollouts(model, drift=0.2)
    junk = [
        replace(
            g,
            trajectories=tuple(
                replace(t, spans=tuple(s if s.author is POLICY else replace(s, logprobs=(7.0,) * len(s.token_ids)) for s in t.spans))
                for t in g.trajectories
            ),
        )
        for g in groups
    ]
    one, figures = gradient(model, name, groups, reference, **kind)
    other, same = gradient(model, name, junk, reference, **kind)
    assert torch.equal(one, other) and figures == same and float(one.norm()) > 0
    assert figures["trained_tokens"] <= sum(t.policy_token_count for g in groups for t in g.trajectories)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_stands_behind_the_last_word_changes_nothing(model: Any, name: str) -> None:
    """A document that nobody read: other ids, or more of them, and the gradient is the same to the last digit that padding leaves."""
    groups = rollouts(model)
    last = groups[0].trajectories[3]
    for document in ((5,), (3, 3, 3, 3), ()):
        spans = (*last.spans[:-4], *(Span(ENVIRONMENT, (i,), "") for i in document))
        changed = [Group(QUESTION, (*groups[0].trajectories[:3], replace(last, spans=spans)))]
        one, other = gradient(model, name, groups)[0], gradient(model, name, changed)[0]
        assert distance(other, one) < 1e-6


def test_the_critic_sees_policy_tokens_only(model: Any) -> None:
    learner, rows, groups = learner_of(model, "ppo"), list[int](), rollouts(model)
    learner.critic.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[0]))  # type: ignore[union-attr]
    learn(groups, 0, 0, learner)
    assert rows == [sum(t.policy_token_count for g in groups for t in g.trajectories)] * 2  # estimated, then trained


def with_values(groups: Sequence[Group], learner: Learner) -> list[Group]:
    """As a sampler with the learner's critic would have given them."""

    def judged(t: Trajectory) -> Trajectory:
        values = iter(learner.estimates([t])[0].values)
        return replace(t, spans=tuple(replace(s, values=(next(values),)) if s.author is POLICY else s for s in t.spans))

    return [replace(g, trajectories=tuple(map(judged, g.trajectories))) for g in groups]


def without_the_last(groups: Sequence[Group]) -> list[Group]:
    first, *others = groups[0].trajectories
    return [Group(QUESTION, (replace(first, spans=(*first.spans[:-1], replace(first.spans[-1], values=()))), *others))]


@pytest.mark.parametrize(
    ("settings", "change", "passes"),
    [
        ({}, list, 1),
        ({}, without_the_last, 2),
        ({"mask_observations": False}, list, 2),
        ({"importance_cap": 2.0}, list, 2),
        ({"kl_in": "reward", "kl_coefficient": 0.1}, list, 2),
    ],
)
def test_values_of_the_sampler_save_a_pass(model: Any, settings: dict[str, Any], change: Any, passes: int) -> None:
    """The update is the same as with the trainer's estimates, still made where the sampler has not said all that is asked for."""
    reference, groups = build_model(VOCABULARY, seed=2, context=64).eval(), rollouts(model)
    judged = change(with_values(groups, learner_of(model, "ppo")))
    one, figures = gradient(model, "ppo", judged, reference, **settings)
    other, same = gradient(model, "ppo", groups, reference, **settings)
    assert distance(one, other) < 1e-5 and figures == pytest.approx(same, rel=1e-4, abs=1e-6)
    learner, rows = learner_of(model, "ppo", reference, **settings), list[int]()
    learner.critic.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[0]))  # type: ignore[union-attr]
    learn(judged, 0, 0, learner)
    assert len(rows) == passes


def test_a_sampler_with_another_critic_shows(model: Any) -> None:
    learner = learner_of(model, "ppo")
    groups = with_values(rollouts(model), learner)
    assert learn(groups, 0, 0, learner)[1]["value_mismatch"] < 1e-5
    assert learn(groups, 1, 0, learner)[1]["value_mismatch"] > 1e-3  # the critic has moved since


def test_gae_steps_over_a_document_as_if_it_were_not_there() -> None:
    """Policy, policy, document of nine, policy, with values 0.4 and 0.2, then 0.6 after the document: the pencil case of `gae`."""
    spans = (
        Span(Author.PROMPT, (1,), ""),
        Span(POLICY, (2, 3), "", (-1.0, -1.0)),
        Span(ENVIRONMENT, (4,) * 9, ""),
        Span(POLICY, (5,), "", (-1.0,)),
    )
    t = Trajectory(QUESTION, 0, spans, (), StopReason.ANSWERED, reward=1.0)
    rl = RLConfig(algorithm="ppo", discount=0.5, gae_lambda=0.5)
    groups, examples, figures = make_examples([[(t, TokenEstimates((-1.0,) * 3, (), (0.4, 0.2, 0.6)))]], rl, ALGORITHMS["ppo"])
    assert groups[0].trajectories[0].token_advantages == examples[0].advantages  # what is stored is what was trained with
    assert examples[0].returns == pytest.approx((0.15, 0.4, 1.0))
    assert groups[0].trajectories[0].advantage == pytest.approx((-0.25 + 0.2 + 0.4) / 3)
    assert sum(examples[0].advantages) == pytest.approx(0) and figures["value"] == pytest.approx(0.4)


@pytest.mark.parametrize("kind", [{}, {"importance_cap": 2.0}, {"kl_in": "reward", "kl_coefficient": 0.1}])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_parts_add_up_to_the_whole(model: Any, name: str, kind: dict[str, Any]) -> None:
    """Loss and gradient of a batch in one piece, and rollout by rollout, agree to 1e-5."""
    groups, reference = rollouts(model, drift=0.1), build_model(VOCABULARY, seed=2, context=64).eval()
    whole, figures = gradient(model, name, groups, reference, **kind)
    for most in (1, 40):
        parts, same = gradient(model, name, groups, reference, microbatch_tokens=most, **kind)
        assert distance(parts, whole) < 1e-5
        assert same == pytest.approx(figures, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_few_steps(model: Any, name: str) -> None:
    """Every algorithm makes the best rollout likelier and the worst less likely."""
    learner, groups = learner_of(model, name, minibatches=2, max_grad_norm=1.0, clip=0.5, clip_high=0.5, group_size=4), rollouts(model)

    def likelihoods() -> list[float]:
        batches = [make_batch([t], 0) for t in groups[0].trajectories]
        return [float(token_logprobs(learner.model, batch.ids_BT, batch.trained_BT)[0].detach().mean()) for batch in batches]

    before = likelihoods()
    for step in range(3):
        _, figures = learn(groups, step, 0, learner)
        assert all(torch.isfinite(torch.tensor(list(figures.values()))))
    after = likelihoods()
    assert after[0] > before[0] and after[1] < before[1]


def test_epochs_go_on_from_the_log_probs_of_the_rollout(model: Any) -> None:
    """The second pass meets ratios that are not 1; the first is the same as without it."""
    once, twice = learner_of(model, "grpo"), learner_of(model, "grpo", epochs=2)
    seen = list[dict]()
    learn(rollouts(model), 0, 0, once, None, lambda f: not seen.append(dict(f)))
    learn(rollouts(model), 0, 0, twice, None, lambda f: not seen.append(dict(f)))
    assert len(seen) == 3 and seen[0] == seen[1]
    assert seen[2]["loss"] < seen[1]["loss"] and seen[2]["logprob_mismatch"] == 0


def test_critic_warm_up_moves_the_critic_alone(model: Any) -> None:
    learner = learner_of(model, "ppo", critic_warmup_steps=2)
    assert learner.critic is not None
    before, critic = [p.detach().clone() for p in learner.model.parameters()], learner.critic.weight.detach().clone()
    learn(rollouts(model), 0, 0, learner)
    assert all(map(torch.equal, before, learner.model.parameters())) and not torch.equal(critic, learner.critic.weight)
    learn(rollouts(model), 2, 0, learner)
    assert not all(map(torch.equal, before, learner.model.parameters()))


def test_a_critic_learns_what_rollouts_are_worth(model: Any) -> None:
    learner, groups = learner_of(model, "ppo", warmup_steps=0, value_clip=0.0), rollouts(model)
    found = [learn(groups, step, 0, learner)[1]["explained_variance"] for step in range(25)]
    assert found[-1] > 0.5 > found[0]


def test_kl_in_the_reward_costs_the_sum_over_the_rollout(model: Any) -> None:
    """k1 of 0.5 a token over 2 tokens at β = 0.1 takes 0.1 off the reward; REINFORCE then compares 0.9 with 0."""
    spans = (Span(Author.PROMPT, (1,), ""), Span(POLICY, (2, 3), "", (-1.0, -1.0)))
    t = Trajectory(QUESTION, 0, spans, (), StopReason.ANSWERED, reward=1.0)
    rl = RLConfig(algorithm="reinforce", kl_in="reward", kl_estimator="k1", kl_coefficient=0.1)
    near, far = TokenEstimates((-1.0, -1.0), (-1.0, -1.0)), TokenEstimates((-1.0, -1.0), (-1.5, -1.5))
    groups, _, figures = make_examples([[(t, far), (replace(t, reward=0.0), near)]], rl, ALGORITHMS["reinforce"])
    assert [t.advantage for t in groups[0].trajectories] == pytest.approx([0.45, -0.45])
    assert [t.reward for t in groups[0].trajectories] == [1.0, 0.0] and figures["kl"] == pytest.approx(0.25)


def test_importance_correction_is_cut_at_the_cap(model: Any) -> None:
    """Trainer 1.5 times as sure as the sampler, and e times: weights 1.5 and, cut, 2."""
    spans = (Span(Author.PROMPT, (1,), ""), Span(POLICY, (2, 3), "", (-1.0, -1.0)))
    t = Trajectory(QUESTION, 0, spans, (), StopReason.ANSWERED, reward=1.0)
    trainer = TokenEstimates((-1.0 + 0.4054651, 0.0))
    _, examples, _ = make_examples([[(t, trainer), (replace(t, reward=0.0), trainer)]], RLConfig(importance_cap=2.0), ALGORITHMS["grpo"])
    assert examples[0].importance == pytest.approx((1.5, 2.0)) and examples[0].old_logprobs == trainer.logprobs


def test_equal_groups_are_counted_and_teach_nothing(model: Any) -> None:
    (group,) = rollouts(model)
    equal = replace(group, trajectories=tuple(replace(t, reward=0.5) for t in group.trajectories))
    for name in ("grpo", "dapo", "rloo", "dr_grpo", "gspo", "cispo"):
        learner = learner_of(model, name)
        before = [p.detach().clone() for p in learner.model.parameters()]
        _, figures = learn([equal], 0, 0, learner)
        assert figures["equal_groups"] == 1 and figures["used"] == 0 and figures["skipped_updates"] == 1
        assert all(map(torch.equal, before, learner.model.parameters()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_batch_without_a_trainable_token(model: Any, name: str) -> None:
    """Rollouts that failed, and rewarded ones in which the policy never spoke: counted as a skipped update, and nothing moves."""
    silent = [replace(t, spans=tuple(s for s in t.spans if s.author is not POLICY)) for t in rollouts(model)[0].trajectories]
    failed = replace(silent[0], stop_reason=StopReason.SEARCH_FAILED, reward=None)
    learner = learner_of(model, name)
    before = [p.detach().clone() for p in learner.model.parameters()]
    _, figures = learn([Group(QUESTION, (failed, *silent[1:]))], 0, 0, learner)
    assert figures["trained_tokens"] == figures["loss"] == figures["used"] == 0 and figures["skipped_updates"] == 1
    assert all(map(torch.equal, before, learner.model.parameters()))


def test_aggregations_by_hand() -> None:
    """Rollouts of 2 and 6 tokens, budget 10."""
    assert token_mean([2, 6], 10) == ([1.0, 1.0], 8)
    assert sequence_mean([2, 6], 10) == ([0.5, 1 / 6], 2)
    assert fixed_length([2, 6], 10) == ([1.0, 1.0], 20)


def test_a_refused_update_changes_nothing(model: Any) -> None:
    learner = learner_of(model, "grpo", minibatches=2)
    before = [p.detach().clone() for p in learner.model.parameters()]
    _, figures = learn(rollouts(model), 0, 0, learner, None, lambda figures: False)
    assert all(map(torch.equal, before, learner.model.parameters()))
    assert figures["skipped_updates"] == 2 and figures["trained_tokens"] == 0
