"""Weighted text → a trained model, and a fit that a kill does not set back."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from zerosearch.lab.base_model import build_model
from zerosearch.lab.language import make_tokenizer
from zerosearch.models.sft import (
    PART_TOKENS,
    Muon,
    Schedule,
    WeightedText,
    encode_batch,
    fit,
    mean_loss,
    micro_optimizers,
    orthogonalised,
    weighted_loss,
)

TEXTS: list[list[tuple[str, float]]] = [
    [("<bos>Question: who founded", 0.1), ("Silent Harbor", 1.0), ("?<eos>", 0.0)],
    [("<bos>", 0.0), ("useful", 1.0)],
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def small_model(tokenizer: Any, seed: int = 0) -> Any:
    return build_model(len(tokenizer), seed, context=64)


# ---- text → tensors


def test_encode_batch(tokenizer: Any) -> None:
    ids_BT, weights_BT = encode_batch(tokenizer, TEXTS)
    assert tokenizer.convert_ids_to_tokens(ids_BT[0].tolist()) == "<bos> Question: who founded Silent Harbor ? <eos>".split()
    assert tokenizer.convert_ids_to_tokens(ids_BT[1].tolist()) == ["<bos>", "useful", *["<pad>"] * 6]
    assert torch.equal(weights_BT, torch.tensor([[0.1, 0.1, 0.1, 0.1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]))


def test_empty_pieces_shift_nothing(tokenizer: Any) -> None:
    ids_BT, weights_BT = encode_batch(tokenizer, [[("", 1.0), ("who", 0.5), ("", 1.0), ("founded", 0.25)]])
    assert tokenizer.convert_ids_to_tokens(ids_BT[0].tolist()) == ["who", "founded"] and weights_BT.tolist() == [[0.5, 0.25]]


def test_a_piece_may_be_ids_already(tokenizer: Any) -> None:
    ids = tokenizer("<bos>Question: who founded", add_special_tokens=False)["input_ids"]
    as_ids = [[(ids, 0.1), *TEXTS[0][1:]], TEXTS[1]]
    assert all(map(torch.equal, encode_batch(tokenizer, as_ids), encode_batch(tokenizer, TEXTS)))


# ---- the loss


def test_weighted_loss_by_hand(tokenizer: Any) -> None:
    model = small_model(tokenizer).eval()
    ids_BT, weights_BT = encode_batch(tokenizer, TEXTS)
    loss, hits = weighted_loss(model, ids_BT, weights_BT)
    total = weight_sum = full = right = 0.0
    for ids, weights in zip(ids_BT, weights_BT, strict=True):
        logprobs_TV = torch.log_softmax(model(ids[None]).logits[0], -1).detach()
        for t in range(1, len(ids)):  # token t is predicted at t - 1
            total -= float(weights[t] * logprobs_TV[t - 1, ids[t]])
            weight_sum += float(weights[t])
            full += float(weights[t] == 1)
            right += float(weights[t] == 1 and logprobs_TV[t - 1].argmax() == ids[t])
    assert (weight_sum, full) == pytest.approx((0.3 + 2 + 1, 3))  # <bos> is predicted by nothing
    assert float(loss.detach()) == pytest.approx(total / weight_sum, rel=1e-5)
    assert float(hits) == pytest.approx(right / full)


def test_mean_loss_is_that_of_one_batch_whatever_its_parts(tokenizer: Any) -> None:
    model, many = small_model(tokenizer).eval(), TEXTS * 300
    loss, _ = weighted_loss(model, *encode_batch(tokenizer, TEXTS))
    assert PART_TOKENS < 300 * 8
    assert mean_loss(model, tokenizer, many) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert not model.training and mean_loss(model.train(), tokenizer, TEXTS) and model.training


def test_an_untrained_model_knows_nothing(tokenizer: Any) -> None:
    """All weights zero: every token has probability 1/V, so the loss is log V whatever the weights."""
    model = small_model(tokenizer)
    for p in model.parameters():
        torch.nn.init.zeros_(p)
    loss, _ = weighted_loss(model, *encode_batch(tokenizer, TEXTS))
    assert float(loss.detach()) == pytest.approx(math.log(len(tokenizer)), rel=1e-6)


def test_hits_are_unknown_where_nothing_has_full_weight(tokenizer: Any) -> None:
    _, hits = weighted_loss(small_model(tokenizer), *encode_batch(tokenizer, [[("who founded Silent Harbor", 0.1)]]))
    assert math.isnan(float(hits))


# ---- the optimiser


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (32, 128), (128, 32)])
def test_orthogonalised(rows: int, columns: int) -> None:
    """Singular values from 0.1 to 1 all come near 1; the singular vectors stay."""
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(3, rows, 32)).Q, torch.linalg.qr(torch.randn(3, columns, 32)).Q
    sizes = torch.tensor([1e-3, 1.0, 1e3])[:, None, None]  # what is told apart by size alone comes out alike
    updates = orthogonalised(sizes * left @ torch.diag(torch.linspace(0.1, 1, 32)) @ right.mT)
    singular_values = torch.linalg.svdvals(updates)[:, :32]
    assert singular_values.min() > 0.6 and singular_values.max() < 1.3
    rotated = left.mT @ updates @ right
    assert torch.allclose(rotated, torch.diag_embed(rotated.diagonal(dim1=1, dim2=2)), atol=1e-4)


def test_muon_steps_by_its_learning_rate_whatever_the_gradient() -> None:
    """W ← W - lr · √max(1, rows / columns) · (about orthogonal), so the spectral norm of a step is about lr · √…"""
    torch.manual_seed(0)
    for shape, scale in (((16, 16), 1.0), ((64, 16), 2.0)):
        for size in (1e-4, 1e4):
            weight = torch.nn.Parameter(torch.zeros(shape))
            weight.grad = size * torch.randn(shape)
            Muon([weight], lr=0.1).step()
            assert 0.6 < float(torch.linalg.matrix_norm(weight.detach(), 2)) / (0.1 * scale) < 1.3
            assert float((weight.detach() * weight.grad).sum()) < 0  # downhill


def test_every_weight_has_one_optimiser(tokenizer: Any) -> None:
    model = small_model(tokenizer)
    muon, adam = ([p for g in o.param_groups for p in g["params"]] for o in micro_optimizers(model, 0.02, 0.01))
    assert {id(p) for p in muon} | {id(p) for p in adam} == {id(p) for p in model.parameters()}
    assert not {id(p) for p in muon} & {id(p) for p in adam}
    assert any(p is model.get_input_embeddings().weight for p in adam) and all(p.dim() == 2 for p in muon)


def test_schedule() -> None:
    schedule = Schedule(steps=100, warmup=10, decay=0.4)
    assert [schedule.factor(step) for step in (0, 4, 9, 10, 60, 80, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1, 0.5, 1 / 40])


# ---- the fit


def batch_of(step: int) -> Sequence[WeightedText]:
    return [[("<bos>who founded", 0.1), (word, 1.0)] for word in ("useful", "noisy", "maybe")[: 1 + step % 3]]


class Killed(Exception):
    pass


def fitted(tokenizer: Any, state_file: Path | None, kill_after: int = 0) -> tuple[list[torch.Tensor], list[int], list[float]]:
    """Weights, the steps this process did, and the losses of all."""
    model, seen, kept = small_model(tokenizer), list[int](), dict[str, list[Any]](losses=[])

    def on_step(done: int, loss: float, hits: float) -> None:
        seen.append(done)
        kept["losses"].append(loss)
        if done == kill_after:
            raise Killed

    try:
        fit(model, tokenizer, batch_of, micro_optimizers(model, 0.01, 0.01), Schedule(6, warmup=2), state_file, on_step, kept)
        assert not model.training
    except Killed:
        pass
    return [p.detach() for p in model.parameters()], seen, kept["losses"]


def test_the_learning_rate_follows_the_schedule(tokenizer: Any) -> None:
    model, schedule, rates = small_model(tokenizer), Schedule(6, warmup=2), list[tuple[float, float]]()
    muon, adam = micro_optimizers(model, 0.02, 0.01)

    def on_step(done: int, loss: float, hits: float) -> None:
        rates.append((muon.param_groups[0]["lr"], adam.param_groups[0]["lr"]))

    fit(model, tokenizer, batch_of, [muon, adam], schedule, on_step=on_step)
    assert rates == [pytest.approx((0.02 * schedule.factor(i), 0.01 * schedule.factor(i))) for i in range(6)]


def test_a_killed_fit_ends_with_the_same_weights(tokenizer: Any, tmp_path: Path) -> None:
    uninterrupted, seen, losses = fitted(tokenizer, None)
    assert seen == [1, 2, 3, 4, 5, 6] and losses[-1] < losses[0]
    state = tmp_path / "state"
    # killed twice before the step was saved, each time as a new process would start
    for kill_after, expected in ((2, [1, 2]), (4, [2, 3, 4]), (0, [4, 5, 6])):
        weights, seen, all_losses = fitted(tokenizer, state, kill_after)
        assert seen == expected
    assert all(map(torch.equal, weights, uninterrupted)) and all_losses == losses
    finished, seen, _ = fitted(tokenizer, state)  # nothing is left to do
    assert seen == [] and all(map(torch.equal, finished, uninterrupted))
    assert list(tmp_path.iterdir()) == [state]
