"""Log-probs of given tokens under a causal LM, without paying for the vocabulary where nothing is asked."""

from __future__ import annotations

from typing import Any

import torch


def token_logprobs(
    model: Any, ids_BT: torch.Tensor, chosen_BT: torch.Tensor, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(token | everything before it) and the entropy of that distribution, for the M chosen tokens, row by row.

    ids_BT is right-padded; causal attention keeps padding out of every real token's context, so no mask is needed.
    `chosen_BT` marks tokens, not the positions that predict them; the first token of a row has no prediction and must not be chosen.
    Temperature 0 (greedy) counts as 1. Returns logprobs_M with gradient and entropy_M without.
    """
    chosen_BT = chosen_BT[:, 1:]
    if getattr(model.config, "final_logit_softcapping", None) or getattr(model.config, "logit_scale", None):
        logits_MV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits[chosen_BT].float()  # its head is more than a matrix
    else:
        hidden_BTD = model.base_model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        logits_MV = model.get_output_embeddings()(hidden_BTD[chosen_BT]).float()
    if temperature not in (0.0, 1.0):  # a division by 1 is a pass over the vocabulary, and another one backward
        logits_MV = logits_MV / temperature
    logprobs_MV = torch.log_softmax(logits_MV, dim=-1)
    logprobs_M = logprobs_MV.gather(1, ids_BT[:, 1:][chosen_BT][:, None])[:, 0]
    with torch.no_grad():
        entropy_M = -(logprobs_MV.exp() * logprobs_MV).sum(-1)
    return logprobs_M, entropy_M
