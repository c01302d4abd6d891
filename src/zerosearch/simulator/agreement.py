"""How far two labellers agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def cohens_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float | None:
    """κ = (p_o - p_e) / (1 - p_e) (Cohen, 1960), in [-1, 1]: 1 is full agreement, 0 what chance gives.

    p_o is the share of items with equal labels, p_e = Σ_label p_a(label) · p_b(label). None when it is not defined: no item, or both
    labellers give one and the same label to all.

    Pencil: a = uuuunn, b = uuunnn. p_o = 5/6, p_e = 4/6·3/6 + 2/6·3/6 = 1/2, κ = (5/6 - 1/2) / (1/2) = 2/3.
    """
    assert len(a) == len(b)
    n = len(a)
    if not n:
        return None
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / n
    counts_a, counts_b = Counter(a), Counter(b)
    by_chance = sum(counts_a[label] * counts_b[label] for label in counts_a) / n**2
    return None if by_chance == 1 else (observed - by_chance) / (1 - by_chance)
