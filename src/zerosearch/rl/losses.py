"""Losses on the log-probs of policy tokens. M counts the tokens of a microbatch that carry gradient; nothing else comes in."""

from __future__ import annotations

import torch


def clipped_policy_loss(logprobs_M: torch.Tensor, old_logprobs_M: torch.Tensor, advantages_M: torch.Tensor, clip: float) -> torch.Tensor:
    """-min(ρA, clip(ρ, 1-ε, 1+ε)A) with ρ = π(token) / π_old(token), one value a token. PPO (arXiv 1707.06347), equation 7."""
    ratio_M = (logprobs_M - old_logprobs_M).exp()
    return -torch.minimum(ratio_M * advantages_M, ratio_M.clamp(1 - clip, 1 + clip) * advantages_M)


def kl_k3(logprobs_M: torch.Tensor, reference_logprobs_M: torch.Tensor) -> torch.Tensor:
    """exp(d) - d - 1 with d = log π_ref - log π: Schulman's k3, an unbiased, never negative estimate of KL(π || π_ref), one value a token.

    Added to the loss. Differs from the paper's code, where the KL term of GRPO and REINFORCE has the wrong sign.
    """
    d_M = reference_logprobs_M - logprobs_M
    return d_M.exp() - d_M - 1
