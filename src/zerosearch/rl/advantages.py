"""Advantages: how much better a rollout was than what it is compared with. Plain numbers in, plain numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev


def group_relative(rewards_G: Sequence[float | None]) -> list[float | None]:
    """(r - mean(r)) / (std(r) + 1e-4) over the G samples of one question. GRPO, DeepSeekMath (arXiv 2402.03300), section 4.1.

    `std` is the sample standard deviation. A failed rollout (reward None) is left out of the comparison and stays None, and so does
    a group with fewer than two rollouts left: there is nothing to compare.
    """
    known = [r for r in rewards_G if r is not None]
    if len(known) < 2:
        return [None] * len(rewards_G)
    mean, scale = fmean(known), stdev(known) + 1e-4
    return [None if r is None else (r - mean) / scale for r in rewards_G]
