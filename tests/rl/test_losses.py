"""Losses by hand, and the direction of their gradients."""

import math

import pytest
import torch

from zerosearch.rl.losses import clipped_policy_loss, kl_k3


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
