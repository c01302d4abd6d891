"""Drawing a token: inverse CDF, with a temperature, top-p and seed per row."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64  # tokens; a CPU sums a block many at a time, but computes running sums one by one


def uniforms(seed: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Multiples of 2^-24 in [0, 1). Number i is a pure function of (seed, i): Philox, a counter-based generator."""
    return np.random.Generator(np.random.Philox(key=seed % 2**64)).random(count, np.float32)


def draw(logits_NV: Tensor, uniform_N1: Tensor, scale_N1: Tensor | None, top_p_N1: Tensor | None, greedy_N1: Tensor | None) -> Tensor:
    """Inverse-CDF sampling: the first token i with p_0 + … + p_i > u. Returns (token, log-prob) as float32, [2, N].

    The log-prob is that under p = softmax(logits · scale), before top-p. NaN in a row's logits gives a NaN log-prob.
    Overwrites `logits_NV`. A float32 holds every token id exactly up to 2^24.
    """
    if scale_N1 is not None:
        logits_NV.mul_(scale_N1)
    p_NV = kept_NV = torch.softmax(logits_NV, -1)
    if top_p_N1 is not None:
        # Masked in the order of the vocabulary, so that a row's token does not depend on whether its neighbours use top-p.
        sorted_NV = p_NV.sort(-1, descending=True).values
        before_NV = sorted_NV.cumsum(-1) - sorted_NV
        # top_p = 1 keeps everything, however the sum is rounded; top_p = 0 keeps the most likely token
        limit_N1 = torch.where(top_p_N1 < 1, top_p_N1, torch.inf).clamp_(min=1e-9)
        least_N1 = sorted_NV.masked_fill(before_NV >= limit_N1, torch.inf).amin(-1, keepdim=True)
        kept_NV = p_NV.masked_fill(p_NV < least_N1, 0.0)
    token_N1 = _invert_cdf(kept_NV, uniform_N1)
    if greedy_N1 is not None or logits_NV.device.type != "cpu":  # argmax costs as much as all the rest on a CPU
        best_N1 = logits_NV.argmax(-1, keepdim=True)
        if greedy_N1 is not None:
            token_N1 = torch.where(greedy_N1, best_N1, token_N1)
        # a parallel sum need not grow from token to token, so the search can land next to the right token
        token_N1 = torch.where(kept_NV.gather(1, token_N1) > 0, token_N1, best_N1)
    return torch.stack((token_N1[:, 0].float(), p_NV.gather(1, token_N1)[:, 0].log()))


def _invert_cdf(p_NV: Tensor, uniform_N1: Tensor) -> Tensor:
    """The first token i with p_0 + … + p_i > u · total, [N, 1]: first its block, then its place in the block."""
    n, v = p_NV.shape
    p_NBW = (F.pad(p_NV, (0, -v % BLOCK)) if v % BLOCK else p_NV).view(n, -1, BLOCK)
    sums_NB = p_NBW.sum(-1)
    ends_NB = sums_NB.cumsum(-1)
    # u is at most 1 - 2^-24, so u · total rounds to less than the total: a block of probability 0 is never chosen
    goal_N1 = uniform_N1 * ends_NB[:, -1:]
    block_N1 = torch.searchsorted(ends_NB, goal_N1, right=True).clamp_(max=ends_NB.shape[1] - 1)  # a row of NaN finds none
    ends_NW = p_NBW[torch.arange(n, device=p_NV.device), block_N1[:, 0]].cumsum(-1)
    goal_N1 = goal_N1 - (ends_NB.gather(1, block_N1) - sums_NB.gather(1, block_N1))
    # two sums of one block may differ by rounding: the target must lie within the second, or a token of probability 0 could be chosen
    goal_N1 = torch.minimum(goal_N1.clamp_(min=0), ends_NW[:, -1:] * (1 - 2**-23))
    return (block_N1 * BLOCK + torch.searchsorted(ends_NW, goal_N1, right=True)).clamp_(max=v - 1)
