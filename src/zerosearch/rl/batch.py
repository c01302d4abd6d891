"""Groups → tensors. The loss mask is read off the spans' authors; there is no other mask."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from zerosearch.core.types import Author, Trajectory
from zerosearch.models.sft import parts_of_like_length

# B trajectories, T tokens of the longest of them


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Right-padded trajectories, ready for one forward pass.

    ids_BT (int64), trained_BT (bool: the token carries gradient), old_logprobs_BT (float32: as sampled, 0 where not sampled),
    sampled_BT (bool: the policy wrote it).
    """

    ids_BT: torch.Tensor
    trained_BT: torch.Tensor
    sampled_BT: torch.Tensor
    old_logprobs_BT: torch.Tensor

    def to(self, device: torch.device) -> Self:
        return type(self)(*(getattr(self, name).to(device) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """What one rollout teaches: a number for each of its trained tokens, in their order; () where an algorithm has no use for it.

    `advantages`; `old_logprobs` (the trainer's own, when they are to replace the sampler's, with `importance`, the ratio of the two, cut
    at a cap); `values` and `returns` (what the critic said, and should have said). `weight` is what each token counts in the loss.
    """

    trajectory: Trajectory
    advantages: tuple[float, ...]
    old_logprobs: tuple[float, ...] = ()
    importance: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    returns: tuple[float, ...] = ()
    weight: float = 1.0


def teaches(trajectory: Trajectory) -> bool:
    """Whether it carries a gradient: scored, with an advantage other than zero, and with a token the policy wrote."""
    return trajectory.advantage is not None and abs(trajectory.advantage) > 1e-6 and trajectory.policy_token_count > 0


def minibatches(examples: Sequence[TrainingExample], count: int, seed: int) -> list[list[TrainingExample]]:
    """`count` random parts of about equal size, the same for the same seed; empty ones are left out."""
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)
    return [part for i in range(count) if (part := shuffled[i::count])]


def microbatches(trajectories: Sequence[Trajectory], max_tokens: int) -> list[list[int]]:
    """Indices in parts of at most `max_tokens` padded tokens (one trajectory at least), of like lengths, so that little is padding."""
    return parts_of_like_length([len(t.token_ids) for t in trajectories], max_tokens)


def trained_token_count(trajectory: Trajectory, mask_observations: bool) -> int:
    return sum(_is_trained(span.author, mask_observations) * len(span.token_ids) for span in trajectory.spans)


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
    return TrainingBatch(ids_BT, trained_BT, sampled_BT, old_BT)


def _is_trained(author: Author, mask_observations: bool) -> bool:
    return author is Author.POLICY or (author is Author.ENVIRONMENT and not mask_observations)
