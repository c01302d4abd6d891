"""When to stop: at the token that completes a stop string, however the tokenizer splits it, or that ends the text."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from zerosearch.core.types import Finish


class StopWatch:
    """Which tokens may end a continuation, as a table with one look-up per row and step; the rest is decided by text.

    A token may end it if the model's end tokens include it, or if its text contains the last character of a stop string.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int], vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._ends = ends
        self._rows: dict[tuple[str, ...], int] = {(): 0}
        self._texts: list[str] | None = None
        self.table = np.isin(np.arange(vocabulary), list(ends))[None]

    def row(self, stop: tuple[str, ...]) -> int:
        """The table's row for these stop strings."""
        if stop not in self._rows:
            self._rows[stop] = len(self.table)
            self.table = np.concatenate((self.table, self._may_end(stop)[None]))
        return self._rows[stop]

    def _may_end(self, stop: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if self._texts is None:
            self._texts = token_texts(self._tokenizer, self.table.shape[1])
        last = {text[-1] for text in stop if text}
        if " " in last:  # some decoders put spaces between tokens, which no token's text shows
            return np.ones(self.table.shape[1], np.bool_)
        # a token that holds part of a multi-byte character decodes to the replacement character
        last |= {"\ufffd"} if any(ord(char) > 127 for char in last) else set()
        return self.table[0] | np.array([not last.isdisjoint(text) for text in self._texts], np.bool_)

    def finish(self, ids: list[int], stop: tuple[str, ...]) -> Finish | None:
        """Whether the newest of the sampled `ids` ends the continuation."""
        if ids[-1] in self._ends:
            return Finish.EOS
        if stop and self.table[self._rows[stop], ids[-1]]:
            # every token brings at least a byte, and with 4 more the tail does not begin inside a character
            tail = ids[-4 - max(len(text.encode()) for text in stop) :]
            decoded = self._tokenizer.decode(tail, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            if any(text and text in decoded for text in stop):
                return Finish.STOP
        return None


def token_texts(tokenizer: Any, vocabulary: int) -> list[str]:
    """The text of each token alone; ids that the tokenizer lacks have none."""
    known = min(len(tokenizer), vocabulary)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        texts = backend.decode_batch([[i] for i in range(known)], skip_special_tokens=False)
    else:
        texts = [tokenizer.decode([i]) for i in range(known)]
    return texts + [""] * (vocabulary - known)


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every end token that the generation config, the config or the tokenizer names."""
    ends: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        named = getattr(source, "eos_token_id", None)
        ends.update(named if isinstance(named, Iterable) else () if named is None else (named,))
    return frozenset(ends)
