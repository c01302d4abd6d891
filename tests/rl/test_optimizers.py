"""Schedules by hand, float32 masters of bfloat16 weights, gradient checkpointing, and the lines about 8-bit optimisers."""

import copy

import pytest
import torch

from zerosearch.core.errors import BadConfig
from zerosearch.lab.base_model import build_model
from zerosearch.models.causal import token_logprobs
from zerosearch.models.gradient_checkpointing import checkpointed
from zerosearch.rl.optimizers import Trained, make_optimizer, rate_factor
from zerosearch.rl.settings import RLConfig


@pytest.mark.parametrize(
    ("schedule", "factors"),
    # 2 steps of warm-up in 6: up by halves, then 4 steps to go
    [("constant", [0.5, 1, 1, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]), ("cosine", [0.5, 1, 1, 0.8535534, 0.5, 0.1464466])],
)
def test_rate_factor(schedule: str, factors: list[float]) -> None:
    assert [rate_factor(schedule, step, 6, 2) for step in range(6)] == pytest.approx(factors)
    assert rate_factor(schedule, 0, 1, 0) == 1


def test_small_updates_are_not_lost_in_bfloat16() -> None:
    """1 + 1/1000 is 1 in bfloat16; ten such steps are 1.01, which is not."""
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    trained = Trained([weight])
    optimizer = torch.optim.SGD(trained.tensors, lr=1e-3)
    for step in range(10):
        (-weight.sum()).backward()
        assert weight.grad is None and trained.tensors[0].grad is not None and trained.tensors[0].grad.dtype == torch.float32
        optimizer.step()
        optimizer.zero_grad()
        trained.publish()
        if step == 0:
            assert weight.tolist() == [1.0] * 3
    assert weight[0].item() == pytest.approx(1.01, abs=4e-3) and weight[0].item() > 1
    assert trained.tensors[0].tolist() == pytest.approx([1.01] * 3)


def test_gradients_of_parts_are_summed_in_float32() -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    trained = Trained([weight])
    (weight * 256).sum().backward()
    weight.sum().backward()  # 257 needs 9 bits
    assert trained.tensors[0].grad is not None and trained.tensors[0].grad.item() == 257


def test_float32_parameters_are_trained_themselves_and_frozen_ones_not() -> None:
    weight, frozen = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1), requires_grad=False)
    trained = Trained([weight, frozen])
    assert trained.tensors[0] is weight and len(trained.tensors) == 1 and trained.masters == []


def test_the_critic_learns_ten_times_as_fast_unless_told_otherwise() -> None:
    policy, critic = [torch.zeros(1, requires_grad=True)], [torch.zeros(1, requires_grad=True)]
    for config, rate in ((RLConfig(learning_rate=1e-6), 1e-5), (RLConfig(learning_rate=1e-6, critic_learning_rate=3e-4), 3e-4)):
        optimizer = make_optimizer(policy, critic, config, torch.device("cpu"))
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-6, rate])


def test_eight_bits_need_a_gpu() -> None:
    with pytest.raises(BadConfig, match="rl.optimizer = 'adamw_8bit' needs a CUDA GPU, the policy is on 'cpu'; choose rl.optimizer=adamw."):
        make_optimizer([torch.zeros(1, requires_grad=True)], [], RLConfig(optimizer="adamw_8bit"), torch.device("cpu"))


def test_checkpointed_gradients_are_the_same() -> None:
    model = build_model(40, seed=1, context=64).eval()
    ids = torch.arange(3, 39)[None]
    chosen = torch.ones_like(ids, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
    gradients = list[list[torch.Tensor]]()
    for on in (False, True):
        own, runs = copy.deepcopy(model), list[int]()
        own.base_model.layers[0].mlp.register_forward_pre_hook(lambda module, inputs, runs=runs: runs.append(1))
        with checkpointed(own, on):
            logprobs, _ = token_logprobs(own, ids, chosen)
        with checkpointed(own, on):
            logprobs.sum().backward()
        assert len(runs) == 1 + on  # with checkpoints the layer runs again on the way back
        assert not own.base_model.layers[0].training
        gradients.append([p.grad for p in own.parameters() if p.grad is not None])
    assert all(map(torch.equal, *gradients))
