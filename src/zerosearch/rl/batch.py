"""Groups → tensors. The loss mask is read off the spans' authors; there is no other mask."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from zerosearch.models.sft import parts_of_like_length
from zerosearch.types import Author, Group, Trajectory

# B trajectories, T tokens of the longest of them


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Right-padded trajectories, ready for one forward pass.

    ids_BT (int64), trained_BT (bool: the token carries gradient), old_logprobs_BT (float32: as sampled, 0 where not sampled),
    sampled_BT (bool: the policy wrote it), advantages_B (float32).
    """

    ids_BT: torch.Tensor
    trained_BT: torch.Tensor
    sampled_BT: torch.Tensor
    old_logprobs_BT: torch.Tensor
    advantages_B: torch.Tensor

    def to(self, device: torch.device) -> TrainingBatch:
        return TrainingBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def trainable(groups: Sequence[Group]) -> list[Trajectory]:
    """Trajectories that carry a gradient: scored, with an advantage other than zero, and with a token the policy wrote."""
    return [t for g in groups for t in g.trajectories if t.advantage is not None and abs(t.advantage) > 1e-6 and t.policy_token_count]


def minibatches(trajectories: Sequence[Trajectory], count: int, seed: int) -> list[list[Trajectory]]:
    """`count` random parts of about equal size, the same for the same seed; empty ones are left out."""
    shuffled = list(trajectories)
    random.Random(seed).shuffle(shuffled)
    return [part for i in range(count) if (part := shuffled[i::count])]


def microbatches(trajectories: Sequence[Trajectory], max_tokens: int) -> Iterator[list[Trajectory]]:
    """Parts of at most `max_tokens` padded tokens (one trajectory at least), of like lengths, so that little is padding."""
    for part in parts_of_like_length([len(t.token_ids) for t in trajectories], max_tokens):
        yield [trajectories[i] for i in part]


def trained_token_count(trajectories: Sequence[Trajectory], mask_observations: bool) -> int:
    return sum(sum(_is_trained(span.author, mask_observations) * len(span.token_ids) for span in t.spans) for t in trajectories)


def make_batch(trajectories: Sequence[Trajectory], pad_id: int, mask_observations: bool = True) -> TrainingBatch:
    """Tensors of some trajectories. With `mask_observations` off, documents carry gradient too: only for the study of masking."""
    size = (len(trajectories), max(len(t.token_ids) for t in trajectories))
    ids_BT = torch.full(size, pad_id)
    trained_BT, sampled_BT, old_BT = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool), torch.zeros(size)
    for b, trajectory in enumerate(trajectories):
        start = 0
        for span in trajectory.spans:
            end = start + len(span.token_ids)
            ids_BT[b, start:end] = torch.tensor(span.token_ids)
            trained_BT[b, start:end] = _is_trained(span.author, mask_observations)
            if span.author is Author.POLICY:
                sampled_BT[b, start:end] = True
                old_BT[b, start:end] = torch.tensor(span.logprobs)
            start = end
    return TrainingBatch(ids_BT, trained_BT, sampled_BT, old_BT, torch.tensor([t.advantage or 0.0 for t in trajectories]))


def _is_trained(author: Author, mask_observations: bool) -> bool:
    return author is Author.POLICY or (author is Author.ENVIRONMENT and not mask_observations)
