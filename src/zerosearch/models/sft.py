"""Supervised training of any causal LM on weighted text: a plain loop, an optimiser, a checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from zerosearch.data.files import new_file, writing

PART_TOKENS = 1024  # that go through the model together, including padding

# B sequences, T tokens, V vocabulary, M predicted tokens of weight > 0

WeightedText = Sequence[tuple[str | Sequence[int], float]]  # a piece is text, or token ids already


def encode_batch(tokenizer: Any, samples: Sequence[WeightedText]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and loss weights, right-padded: `ids_BT` (int64), `weights_BT` (float32, 0 on padding).

    Each piece of text is encoded by itself, so that no token straddles two weights.
    """
    texts = [piece for sample in samples for piece, _ in sample if isinstance(piece, str)]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = [[(next(encoded) if isinstance(piece, str) else piece, weight) for piece, weight in sample] for sample in samples]
    length = max(sum(len(ids) for ids, _ in row) for row in rows)
    ids_BT = torch.full((len(rows), length), tokenizer.pad_token_id or 0)
    weights_BT = torch.zeros(len(rows), length)
    for b, row in enumerate(rows):
        tokens = [t for ids, _ in row for t in ids]
        weights = [weight for ids, weight in row for _ in ids]
        ids_BT[b, : len(tokens)] = torch.tensor(tokens)
        weights_BT[b, : len(weights)] = torch.tensor(weights)
    return ids_BT, weights_BT


def weighted_loss(model: Any, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean of -log p(token | before), and the share of full-weight tokens that argmax gets right.

    Only positions of weight > 0 reach the vocabulary projection, the most expensive part of a small model.
    """
    targets_BT, weights_BT = ids_BT[:, 1:], weights_BT[:, 1:]
    chosen_BT = weights_BT > 0
    hidden_BTD = model.base_model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
    logits_MV = model.get_output_embeddings()(hidden_BTD[chosen_BT]).float()
    targets_M, weights_M = targets_BT[chosen_BT], weights_BT[chosen_BT]
    loss_M = F.cross_entropy(logits_MV, targets_M, reduction="none")
    full = weights_M == 1
    hits = (logits_MV.detach().argmax(-1) == targets_M)[full].float().mean() if full.any() else torch.tensor(float("nan"))
    return (loss_M * weights_M).sum() / weights_M.sum(), hits


@torch.no_grad()
def orthogonalised(update_NRC: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration: the nearest (semi-)orthogonal matrix to each of N matrices, approximately; Jordan et al., Muon, 2024."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update_NRC / (update_NRC.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for weight matrices of hidden layers. Matrices of one shape are processed together.

    torch.optim.Muon does the same one matrix at a time in bfloat16, which on a CPU is several times slower for such small models.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                updates = list[torch.Tensor]()
                for p in params:
                    momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    momentum.mul_(group["momentum"]).add_(p.grad)
                    updates.append(p.grad + group["momentum"] * momentum)
                scale = -group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, orthogonalised(torch.stack(updates)), strict=True):
                    p.add_(update, alpha=scale)


def micro_optimizers(model: Any, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings, heads and norms."""
    named = list(model.named_parameters())
    hidden = {n for n, p in named if p.dim() == 2 and "embed" not in n and "lm_head" not in n}
    return [
        Muon([p for n, p in named if n in hidden], lr=muon_lr),
        torch.optim.AdamW([p for n, p in named if n not in hidden], lr=adam_lr, betas=(0.9, 0.98), weight_decay=0),
    ]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate: up over `warmup` steps, flat, then down to zero over the last `decay` share of the run."""

    steps: int
    warmup: int = 10
    decay: float = 0.4

    def factor(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warmup) * min(1.0, (self.steps - step) / (self.steps * self.decay))


def fit(
    model: Any,
    tokenizer: Any,
    batch_of: Callable[[int], Sequence[WeightedText]],
    optimizers: Sequence[torch.optim.Optimizer],
    schedule: Schedule,
    state_file: Path | None = None,
    on_step: Callable[[int, float, float], None] = lambda step, loss, hits: None,
    kept: dict[str, list[Any]] | None = None,
) -> None:
    """Train `model` in place. `batch_of(step)` must be a pure function: with `state_file`, a killed run resumes at the step it had reached.

    A batch goes through the model in parts of similar lengths and at most PART_TOKENS padded tokens: the gradient is the same, little is
    padding, and a CPU's caches hold a part.
    `on_step(steps done, loss, share of full-weight tokens right)` is called after each step, before it is saved: what it adds to the lists
    of numbers in `kept` is saved with the weights, and restored with them.
    """
    kept = {} if kept is None else kept
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    start = _restore(model, optimizers, state_file, kept)
    model.train()
    for step in range(start, schedule.steps):
        for optimizer, initial in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, initial, strict=True):
                group["lr"] = rate * schedule.factor(step)
        loss, hits = _accumulate(model, tokenizer, batch_of(step))
        # Muon's updates have a fixed size: only the others need clipping
        torch.nn.utils.clip_grad_norm_([p for o in optimizers if not isinstance(o, Muon) for g in o.param_groups for p in g["params"]], 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        on_step(step + 1, loss, hits)
        if state_file:
            _save(model, optimizers, state_file, step + 1, kept)
    model.eval()


@torch.no_grad()
def mean_loss(model: Any, tokenizer: Any, samples: Sequence[WeightedText]) -> float:
    """The weighted mean of -log p over all samples, without a gradient."""
    was_training = model.training
    model.eval()
    loss = sum(float(weighted_loss(model, *part)[0]) * share for *part, share in _parts(model, tokenizer, samples))
    model.train(was_training)
    return loss


def _parts(model: Any, tokenizer: Any, samples: Sequence[WeightedText]) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """(ids_BT, weights_BT, share of the weight of all samples), part by part, on the model's device."""
    ids_BT, weights_BT = (t.to(model.device) for t in encode_batch(tokenizer, samples))
    lengths = (weights_BT > 0).int().mul(torch.arange(1, ids_BT.shape[1] + 1, device=ids_BT.device)).amax(1).tolist()
    total = float(weights_BT[:, 1:].sum())
    for rows in parts_of_like_length(lengths, PART_TOKENS):
        longest = max(lengths[row] for row in rows)  # tokens after the last weight predict nothing
        part_ids_BT, part_weights_BT = ids_BT[rows, :longest], weights_BT[rows, :longest]
        yield part_ids_BT, part_weights_BT, float(part_weights_BT[:, 1:].sum()) / total


def _accumulate(model: Any, tokenizer: Any, samples: Sequence[WeightedText]) -> tuple[float, float]:
    """Add the gradient of the whole batch's weighted mean to the model's; return that mean and the share of right tokens."""
    full, loss_sum, hit_sum = 0, 0.0, 0.0
    for part_ids_BT, part_weights_BT, share in _parts(model, tokenizer, samples):
        loss, hits = weighted_loss(model, part_ids_BT, part_weights_BT)
        (loss * share).backward()
        loss_sum += float(loss.detach()) * share
        if count := int((part_weights_BT[:, 1:] == 1).sum()):
            full, hit_sum = full + count, hit_sum + float(hits) * count
    return loss_sum, hit_sum / full if full else float("nan")


def parts_of_like_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices in parts of at most `max_tokens` padded tokens (at least one sequence), shortest first."""
    parts: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if parts and (len(parts[-1]) + 1) * lengths[index] <= max_tokens:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def _save(model: Any, optimizers: Sequence[torch.optim.Optimizer], file: Path, step: int, kept: dict[str, list[Any]]) -> None:
    states = [optimizer.state_dict() for optimizer in optimizers]
    with writing(file), new_file(file) as partial:
        torch.save({"step": step, "model": model.state_dict(), "optimizers": states, "kept": kept}, partial)


def _restore(model: Any, optimizers: Sequence[torch.optim.Optimizer], file: Path | None, kept: dict[str, list[Any]]) -> int:
    if file is None or not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    kept.update(state["kept"])
    return int(state["step"])
