"""Losses on the log-probs of policy tokens. M counts the tokens of a microbatch that carry gradient; nothing else comes in.

A policy loss takes (logprobs_M, old_logprobs_M, advantages_M, clip, clip_high, rows_M) and gives one value per token. `clip` is ε below,
`clip_high` ε above (None: the same); rows_M (int64) says which rollout a token belongs to. B counts the rollouts of the microbatch.
"""

import torch

Tensor = torch.Tensor
Rows = Tensor | None


def clipped_policy_loss(
    logprobs_M: Tensor, old_logprobs_M: Tensor, advantages_M: Tensor, clip: float, clip_high: float | None = None, rows_M: Rows = None
) -> Tensor:
    """-min(ρA, clip(ρ, 1-ε, 1+ε')A) with ρ = π(token) / π_old(token), one value per token. PPO (arXiv 1707.06347), equation 7.

    With ε' > ε it is DAPO's clip-higher (arXiv 2503.14476), equation 10.
    """
    ratio_M = (logprobs_M - old_logprobs_M).exp()
    high = clip if clip_high is None else clip_high
    return -torch.minimum(ratio_M * advantages_M, ratio_M.clamp(1 - clip, 1 + high) * advantages_M)


def policy_gradient_loss(
    logprobs_M: Tensor, old_logprobs_M: Tensor, advantages_M: Tensor, clip: float, clip_high: float | None = None, rows_M: Rows = None
) -> Tensor:
    """-A log π(token), one value per token. REINFORCE, Williams (1992), equation 5; its gradient is that of the expected reward.

    There is no ratio and so no clipping: it is exact for the first update after the rollouts, and a little off policy in later minibatches.
    """
    return -advantages_M * logprobs_M


def sequence_policy_loss(
    logprobs_M: Tensor, old_logprobs_M: Tensor, advantages_M: Tensor, clip: float, clip_high: float | None = None, rows_M: Rows = None
) -> Tensor:
    """-min(sA, clip(s, 1-ε, 1+ε')A) with s = exp(mean over the rollout's tokens of log ρ). GSPO (arXiv 2507.18071), equations 5 and 7.

    Each token of a rollout gets its rollout's value, so that a mean over tokens and then over rollouts is the paper's mean over rollouts.
    Without rows_M all tokens are one rollout's.
    """
    rows_M = torch.zeros_like(logprobs_M, dtype=torch.int64) if rows_M is None else rows_M
    size_B = int(rows_M.max()) + 1 if len(rows_M) else 0
    log_ratio_B = logprobs_M.new_zeros(size_B).index_add(0, rows_M, logprobs_M - old_logprobs_M)
    count_B = torch.bincount(rows_M, minlength=size_B).clamp(min=1)
    ratio_M = (log_ratio_B / count_B).exp()[rows_M]
    high = clip if clip_high is None else clip_high
    return -torch.minimum(ratio_M * advantages_M, ratio_M.clamp(1 - clip, 1 + high) * advantages_M)


def weight_clipped_loss(
    logprobs_M: Tensor, old_logprobs_M: Tensor, advantages_M: Tensor, clip: float, clip_high: float | None = None, rows_M: Rows = None
) -> Tensor:
    """-sg(clip(ρ, 1-ε, 1+ε')) A log π: the weight is clipped, the gradient never vanishes. CISPO (arXiv 2506.13585), equations 4-5.

    sg: no gradient flows through it.
    """
    high = clip if clip_high is None else clip_high
    weight_M = (logprobs_M.detach() - old_logprobs_M).exp().clamp(1 - clip, 1 + high)
    return -weight_M * advantages_M * logprobs_M


def value_loss(values_M: Tensor, old_values_M: Tensor, returns_M: Tensor, clip: float | None) -> Tensor:
    """½ max((V - R)², (V_old + clip(V - V_old, ±ε) - R)²), one value per token. PPO's value clipping (arXiv 2005.12729, section 3).

    `clip` None: ½ (V - R)². The larger of the two: beyond ε the critic gains nothing from moving further towards the return.
    """
    error_M = (values_M - returns_M) ** 2
    if clip is not None:
        clipped_M = old_values_M + (values_M - old_values_M).clamp(-clip, clip)
        error_M = torch.maximum(error_M, (clipped_M - returns_M) ** 2)
    return 0.5 * error_M


def kl_k1(logprobs_M: Tensor, reference_logprobs_M: Tensor) -> Tensor:
    """log π - log π_ref: Schulman's k1, unbiased, of high variance, one value per token.

    Meant for the reward: as a loss its expected gradient is zero, because the gradient of log π is zero on average.
    """
    return logprobs_M - reference_logprobs_M


def kl_k2(logprobs_M: Tensor, reference_logprobs_M: Tensor) -> Tensor:
    """½ (log π - log π_ref)²: Schulman's k2, biased, of low variance; as a loss its expected gradient is that of KL(π || π_ref)."""
    return 0.5 * (logprobs_M - reference_logprobs_M) ** 2


def kl_k3(logprobs_M: Tensor, reference_logprobs_M: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = log π_ref - log π: Schulman's k3, an unbiased estimate of KL(π || π_ref), never negative, per token.

    Added to the loss. Differs from the paper's code, where the KL term of GRPO and REINFORCE has the wrong sign.
    """
    d_M = reference_logprobs_M - logprobs_M
    return d_M.exp() - d_M - 1


KL_ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}
