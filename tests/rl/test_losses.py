"""Losses by hand, and the direction of their gradients."""

import math

import pytest
import torch

from zerosearch.rl.losses import (
    clipped_policy_loss,
    kl_k1,
    kl_k2,
    kl_k3,
    policy_gradient_loss,
    sequence_policy_loss,
    value_loss,
    weight_clipped_loss,
)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # inside the clip range: -ρA, with slope -ρA in log π
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (0.9, -2.0, 1.8, 1.8),
        # as good as it may get: flat beyond 1 + ε for A > 0 …
        (1.5, 2.0, -2.4, 0.0),
        # … and below 1 - ε for A < 0
        (0.5, -2.0, 1.6, 0.0),
        # on the wrong side nothing is clipped: the way back is open
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_policy_loss(ratio: float, advantage: float, loss: float, slope: float) -> None:
    old = torch.tensor([-1.3])
    logprobs = (old + math.log(ratio)).requires_grad_()
    value = clipped_policy_loss(logprobs, old, torch.tensor([advantage]), clip=0.2)
    value.sum().backward()
    assert value.item() == pytest.approx(loss, abs=1e-6)
    assert logprobs.grad is not None and logprobs.grad.item() == pytest.approx(slope, abs=1e-6)


def test_tokens_do_not_mix() -> None:
    ratios, advantages = torch.tensor([1.0, 1.5, 0.5]), torch.tensor([1.0, 1.0, -1.0])
    assert clipped_policy_loss(ratios.log(), torch.zeros(3), advantages, clip=0.2).tolist() == pytest.approx([-1.0, -1.2, 0.8])


@pytest.mark.parametrize(
    ("policy", "reference", "k3"),
    [
        (0.5, 0.5, 0.0),
        (0.25, 0.5, 2 - math.log(2) - 1),  # d = log 2
        (0.5, 0.25, 0.5 + math.log(2) - 1),  # d = -log 2
    ],
)
def test_k3(policy: float, reference: float, k3: float) -> None:
    logprobs = torch.tensor([math.log(policy)], requires_grad=True)
    value = kl_k3(logprobs, torch.tensor([math.log(reference)]))
    value.sum().backward()
    assert value.item() == pytest.approx(k3, abs=1e-7)
    # a step downhill brings π closer to the reference
    assert logprobs.grad is not None and logprobs.grad.item() == pytest.approx(1 - reference / policy, abs=1e-6)


def test_k3_is_never_negative_and_right_on_average() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.6, 0.3])
    k3 = kl_k3(policy.log(), reference.log())
    assert (k3 >= 0).all()
    assert (policy * k3).sum().item() == pytest.approx((policy * (policy / reference).log()).sum().item(), rel=1e-6)


def test_clip_higher_leaves_more_room_above() -> None:
    """DAPO: at ρ = 1.25 a limit of 0.28 still has a slope, 0.2 has none; at 1.5 neither has."""
    for ratio, slope in ((1.25, -1.25), (1.5, 0.0)):
        logprobs = torch.tensor([math.log(ratio)], requires_grad=True)
        clipped_policy_loss(logprobs, torch.zeros(1), torch.ones(1), 0.2, 0.28).sum().backward()
        assert logprobs.grad is not None and logprobs.grad.item() == pytest.approx(slope)


def test_policy_gradient() -> None:
    """-A log π, and its slope -A, whatever the old policy said."""
    logprobs = torch.tensor([-2.0, -1.0], requires_grad=True)
    value = policy_gradient_loss(logprobs, torch.tensor([5.0, 7.0]), torch.tensor([0.5, -1.0]), 0.2)
    value.sum().backward()
    assert value.tolist() == [1.0, -1.0]
    assert logprobs.grad is not None and logprobs.grad.tolist() == [-0.5, 1.0]


def test_sequence_ratio() -> None:
    """Rollout 0: log ρ = 0.1 and 0.3, so s = e^0.2 for both tokens. Rollout 1: one token, s = e^-0.1. A token's slope: -s A / length."""
    logprobs = torch.tensor([0.1, 0.3, -0.1], requires_grad=True)
    rows, advantages = torch.tensor([0, 0, 1]), torch.tensor([1.0, 1.0, -2.0])
    value = sequence_policy_loss(logprobs, torch.zeros(3), advantages, 0.5, None, rows)
    (value * torch.tensor([0.5, 0.5, 1.0])).sum().backward()  # the mean over tokens, then the sum over rollouts
    assert value.tolist() == pytest.approx([-math.exp(0.2), -math.exp(0.2), 2 * math.exp(-0.1)])
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-math.exp(0.2) / 2, -math.exp(0.2) / 2, 2 * math.exp(-0.1)])


def test_sequence_ratio_is_clipped_as_a_whole() -> None:
    logprobs = torch.tensor([0.5, -0.1], requires_grad=True)  # s = e^0.2, beyond 1.1
    value = sequence_policy_loss(logprobs, torch.zeros(2), torch.ones(2), 0.1)
    value.sum().backward()
    assert value.tolist() == pytest.approx([-1.1, -1.1])
    assert logprobs.grad is not None and logprobs.grad.tolist() == [0.0, 0.0]
    assert sequence_policy_loss(torch.zeros(0), torch.zeros(0), torch.zeros(0), 0.1).tolist() == []


def test_weight_clipped() -> None:
    """ρ = 8 is cut to 5 and still teaches; ρ = ½ stays. The slope is the weight times -A."""
    logprobs = torch.tensor([math.log(8.0), math.log(0.5)], requires_grad=True)
    value = weight_clipped_loss(logprobs, torch.zeros(2), torch.tensor([1.0, -1.0]), 1.0, 4.0)
    value.sum().backward()
    assert value.tolist() == pytest.approx([-5 * math.log(8), 0.5 * math.log(0.5)])
    assert logprobs.grad is not None and logprobs.grad.tolist() == pytest.approx([-5.0, 0.5])


@pytest.mark.parametrize(
    ("value", "old", "target", "clip", "loss", "slope"),
    [
        (0.5, 0.5, 1.0, 0.2, 0.125, -0.5),  # unmoved: ½ · ½²
        (0.9, 0.5, 1.0, 0.2, 0.045, 0.0),  # moved by 0.4 towards it: counts as moved by 0.2, ½ · 0.3², and is held
        (0.9, 0.5, 1.0, None, 0.005, -0.1),
        (0.1, 0.5, 1.0, 0.2, 0.405, -0.9),  # moved away: nothing holds it back
    ],
)
def test_value_loss(value: float, old: float, target: float, clip: float | None, loss: float, slope: float) -> None:
    values = torch.tensor([value], requires_grad=True)
    found = value_loss(values, torch.tensor([old]), torch.tensor([target]), clip)
    found.sum().backward()
    assert found.item() == pytest.approx(loss)
    assert values.grad is not None and values.grad.item() == pytest.approx(slope, abs=1e-7)


def test_k1_and_k2() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    assert kl_k1(logprobs, reference).tolist() == [0.5, -1.0]
    assert kl_k2(logprobs, reference).tolist() == [0.125, 0.5]
    policy, other = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.6, 0.3])
    assert (policy * kl_k1(policy.log(), other.log())).sum().item() == pytest.approx(
        (policy * (policy / other).log()).sum().item(), rel=1e-6
    )
