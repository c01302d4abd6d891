"""Log-probs of chosen tokens, against the whole softmax over every position."""

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from zerosearch.lab.base_model import build_model
from zerosearch.models.causal import token_logprobs

VOCABULARY, PAD = 30, 0
ROWS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17]]
CHOSEN = [[0, 0, 1, 1, 0, 0, 1], [0, 1], [0, 0, 0, 0]]  # the last row has nothing to say


def qwen3() -> Any:
    return build_model(VOCABULARY, seed=0, context=32).eval()


def gpt2() -> Any:
    """A head and position embeddings of its own, and the body under another name."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    ids_BT, chosen_BT = torch.full((len(ROWS), 7), PAD), torch.zeros(len(ROWS), 7, dtype=torch.bool)
    for b, (row, chosen) in enumerate(zip(ROWS, CHOSEN, strict=True)):
        ids_BT[b, : len(row)], chosen_BT[b, : len(row)] = torch.tensor(row), torch.tensor(chosen, dtype=torch.bool)
    return ids_BT, chosen_BT


@pytest.mark.parametrize("make", [qwen3, gpt2])
@pytest.mark.parametrize(("temperature", "divisor"), [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (0.0, 1.0)])
def test_token_logprobs(make: Any, temperature: float, divisor: float) -> None:
    model = make()
    found, entropy = token_logprobs(model, *padded(), temperature)
    expected: list[float] = []
    entropies: list[float] = []
    for row, chosen in zip(ROWS, CHOSEN, strict=True):  # one by one, without padding
        logprobs_TV = torch.log_softmax(model(torch.tensor([row])).logits[0] / divisor, -1).detach()
        for t in range(1, len(row)):
            if chosen[t]:
                expected.append(float(logprobs_TV[t - 1, row[t]]))
                entropies.append(float(-(logprobs_TV[t - 1].exp() * logprobs_TV[t - 1]).sum()))
    assert found.tolist() == pytest.approx(expected, abs=2e-6)
    assert entropy.tolist() == pytest.approx(entropies, abs=2e-6)


def test_padding_is_in_nobody_s_context() -> None:
    model, (ids_BT, chosen_BT) = qwen3(), padded()
    other_BT = ids_BT.masked_fill(ids_BT == PAD, 29)
    assert torch.equal(token_logprobs(model, ids_BT, chosen_BT)[0], token_logprobs(model, other_BT, chosen_BT)[0])


def test_gradients_flow_through_log_probs_only() -> None:
    logprobs, entropy = token_logprobs(qwen3(), *padded())
    assert logprobs.requires_grad and not entropy.requires_grad


def test_nothing_chosen() -> None:
    ids_BT, chosen_BT = padded()
    logprobs, entropy = token_logprobs(qwen3(), ids_BT, torch.zeros_like(chosen_BT))
    assert logprobs.shape == entropy.shape == (0,)
