"""Labelled searches as token ids, many packed in one row, so that a tuning step spends little on padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zerosearch.core.renderers import TemplateRenderer
from zerosearch.engines.prompts import Imitated
from zerosearch.simulator.pairs import SearchPair, tuning_text

# B rows, T tokens
IGNORED = -100  # a label without loss: which torch's cross entropy ignores


@dataclass(frozen=True, slots=True)
class Example:
    """`ids` is prompt, documents and end of text; the first `prompt_tokens` of them carry no loss."""

    ids: tuple[int, ...]
    prompt_tokens: int

    @property
    def labels(self) -> tuple[int, ...]:
        return (IGNORED,) * self.prompt_tokens + self.ids[self.prompt_tokens :]


def encode_pairs(renderer: TemplateRenderer, pairs: Sequence[SearchPair], template: str, imitated: Imitated) -> list[Example]:
    """The prompt is encoded as `models.local` does in use, with the chat template; the documents stand on lines of their own."""
    examples: list[Example] = []
    for pair in pairs:
        (prompt, _), *reply = tuning_text(pair, template, "", "", between="\n", imitated=imitated)
        prompt_ids, reply_ids = renderer.prompt(prompt), renderer.observation("".join(text for text, _ in reply))
        examples.append(Example((*prompt_ids, *reply_ids, renderer.tokenizer.eos_token_id), len(prompt_ids)))
    return examples


def weighted(
    example: Example, pair: SearchPair, eos: str, lesser_weight: float = 1.0, documents: int | None = None
) -> list[tuple[str | Sequence[int], float]]:
    """The same search for `models.sft`: its prompt as ids, its reply as text with weights (see `tuning_text`)."""
    _, *reply = tuning_text(pair, "", "", eos, lesser_weight, documents, between="\n")
    return [(example.ids[: example.prompt_tokens], 0.0), *reply]


def pack(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Indices in rows of at most `row_tokens` (a longer one has a row of its own): first fit, the longest first.

    First-fit decreasing needs at most 11/9 of the fewest rows possible, plus one (Johnson, 1973). Pencil: 5, 4, 3, 2 in rows of 7 are
    5 + 2 and 4 + 3.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, room in enumerate(free) if room >= lengths[index]), None)
        if row is None:
            rows.append([])
            free.append(row_tokens)
            row = len(rows) - 1
        rows[row].append(index)
        free[row] -= lengths[index]
    return rows


def batch_of_rows(rows: Sequence[Sequence[Example]], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `labels`, `position_ids`, each (B, T). Positions restart with each example, and transformers masks what precedes.

    There is no attention mask: with one, the restarts would be ignored. Padding continues as a last example, without loss. An example's
    first token predicts nothing and is predicted by nothing, because a prompt has no loss.
    """
    width = max(sum(len(e.ids) for e in row) for row in rows)
    ids_BT = torch.full((len(rows), width), pad_id)
    labels_BT = torch.full((len(rows), width), IGNORED)
    positions_BT = torch.zeros((len(rows), width), dtype=torch.long)
    for b, row in enumerate(rows):
        start = 0
        for example in row:
            end = start + len(example.ids)
            ids_BT[b, start:end] = torch.tensor(example.ids)
            labels_BT[b, start:end] = torch.tensor(example.labels)
            positions_BT[b, start:end] = torch.arange(len(example.ids))
            start = end
        positions_BT[b, start:] = torch.arange(width - start)
    return {"input_ids": ids_BT, "labels": labels_BT, "position_ids": positions_BT}


class PackedRows(torch.utils.data.Dataset[Any]):
    """One row per item."""

    def __init__(self, examples: Sequence[Example], row_tokens: int) -> None:
        self._examples = examples
        self._rows = pack([len(e.ids) for e in examples], row_tokens)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> list[Example]:
        return [self._examples[i] for i in self._rows[index]]
