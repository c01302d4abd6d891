"""Log-probs of given tokens under a causal LM, with the vocabulary projected only where a token is asked for."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of M chosen tokens: logprobs_M with gradient, entropy_M without, and states_MD, the last hidden state before
    each (with gradient; None unless asked for)."""

    logprobs_M: torch.Tensor
    entropy_M: torch.Tensor
    states_MD: torch.Tensor | None = None


def token_logprobs(
    model: Any, ids_BT: torch.Tensor, chosen_BT: torch.Tensor, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(token | everything before it), with gradient, and the entropy of that distribution, without; see `predictions`."""
    found = predictions(model, ids_BT, chosen_BT, temperature)
    return found.logprobs_M, found.entropy_M


def predictions(
    model: Any, ids_BT: torch.Tensor, chosen_BT: torch.Tensor, temperature: float = 1.0, with_states: bool = False
) -> Predictions:
    """log p(token | everything before it), the entropy of that distribution, and the state before it, for the M chosen tokens, row by row.

    ids_BT is right-padded; causal attention keeps padding out of every real token's context, so no mask is needed.
    `chosen_BT` marks tokens, not the positions that predict them; the first token of a row has no prediction and must not be chosen.
    Temperature 0 (greedy) counts as 1.
    """
    chosen_BT, states_MD = chosen_BT[:, 1:], None
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model  # the adapters of a PEFT wrapper are inside this model
    if getattr(model.config, "final_logit_softcapping", None) or getattr(model.config, "logit_scale", None):
        output = whole(input_ids=ids_BT[:, :-1], use_cache=False, output_hidden_states=with_states)
        logits_MV = output.logits[chosen_BT].float()  # the head is more than a matrix
        states_MD = output.hidden_states[-1][chosen_BT] if with_states else None
    else:
        hidden_BTD = whole.base_model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        states_MD = hidden_BTD[chosen_BT]
        logits_MV = whole.get_output_embeddings()(states_MD).float()
    if temperature not in (0.0, 1.0):  # a division by 1 is a pass over the vocabulary, and another one backward
        logits_MV = logits_MV / temperature
    logprobs_MV = torch.log_softmax(logits_MV, dim=-1)
    logprobs_M = logprobs_MV.gather(1, ids_BT[:, 1:][chosen_BT][:, None])[:, 0]
    with torch.no_grad():
        entropy_M = -(logprobs_MV.exp() * logprobs_MV).sum(-1)
    return Predictions(logprobs_M, entropy_M, states_MD if with_states else None)


def token_states(model: Any, ids_BT: torch.Tensor, chosen_BT: torch.Tensor) -> torch.Tensor:
    """states_MD alone, which is all a critic needs; the vocabulary is never projected."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    return whole.base_model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state[chosen_BT[:, 1:]]


def value_head(model: Any) -> torch.nn.Linear:
    """A critic on the model's own trunk: the state before a token → its value, initially zero for every state. float32."""
    head = torch.nn.Linear(int(model.get_output_embeddings().weight.shape[1]), 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head.to(model.device)
