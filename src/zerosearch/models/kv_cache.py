"""Keys and values of many sequences at once, and a Hugging Face causal LM that reads them in place.

Tensor suffixes: S slots, N rows of one forward (a contiguous range of slots), K key/value heads, H query heads,
G = H / K, T new tokens per row, L tokens read, C capacity, D head size, V vocabulary, E size of a state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from zerosearch.core.errors import ModelNotUsable

ATTENTION = "zerosearch_rows"
Ints = np.ndarray[Any, np.dtype[np.int64]]


class RowCache:
    """What the model receives as `past_key_values`: one K and one V tensor per layer, [S, K, C, D].

    A forward always runs over rows `lo … lo + N - 1`, so everything it reads is a view, never a copy.
    """

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.slots = 0
        self.capacity = 0
        self.lo = self.hi = 0
        self.views: dict[int, tuple[Tensor, Tensor]] = {}  # by layer: rows lo … hi - 1; making views takes as long as some products

    def reserve(self, slots: int, capacity: int) -> None:
        """Make room; stored entries are kept."""
        self.slots, self.capacity = max(slots, self.slots), max(capacity, self.capacity)
        self.views.clear()
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                if old.shape[0] < self.slots or old.shape[2] < self.capacity:
                    new = old.new_empty(self.slots, old.shape[1], self.capacity, old.shape[3])
                    new[: old.shape[0], :, : old.shape[2]] = old
                    # zeros, not empty: masked positions are multiplied by 0, and 0 x NaN is NaN
                    new[old.shape[0] :] = 0
                    new[: old.shape[0], :, old.shape[2] :] = 0
                    tensors[layer] = new

    def clear(self) -> None:
        """Release the memory; the next forward allocates it again."""
        self.keys, self.values = [], []
        self.slots = self.capacity = 0
        self.views.clear()

    def move(self, sources: list[int], targets: list[int], length: int) -> None:
        """Rows `targets` become what rows `sources` were (all read before any is written), up to `length` tokens."""
        for tensor in (*self.keys, *self.values):
            tensor[targets, :, :length] = tensor[sources, :, :length]

    def wipe(self, slot: int) -> None:
        """Zero a row that may hold NaN, which a mask does not hide."""
        for tensor in (*self.keys, *self.values):
            tensor[slot] = 0

    def begin(self, lo: int, starts: Ints, new: int, device: torch.device) -> None:
        """Plan one forward: row lo + i receives `new` tokens at positions starts[i], starts[i] + 1, …"""
        if (lo, lo + len(starts)) != (self.lo, self.hi):
            self.lo, self.hi = lo, lo + len(starts)
            self.views.clear()
        self.new = new
        self.first, self.last = int(starts.min()), int(starts.max())
        self.length = self.last + new
        # A CPU reads memory without gaps twice as fast: the unused end of each row is read too, and masked, unless it is most of the row.
        self.read = self.capacity if new == 1 and device.type == "cpu" and self.capacity <= 2 * self.length else self.length
        self.starts = torch.from_numpy(starts).to(device)
        self.masks: dict[tuple[int | None, int], tuple[Tensor | None, int, int]] = {}
        self.windows: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.targets: dict[int, Tensor] = {}

    def update(self, key_NKTD: Tensor, value_NKTD: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """What models call before attention. Storing is left to `attend`."""
        return key_NKTD, value_NKTD

    def _store(self, layer: int, key_NKTD: Tensor, value_NKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; return views of the rows' whole capacity, [N, K, C, D]."""
        if layer == len(self.keys):
            for tensors, new in ((self.keys, key_NKTD), (self.values, value_NKTD)):
                tensors.append(new.new_zeros(self.slots, new.shape[1], self.capacity, new.shape[3]))
        if layer not in self.views:
            self.views[layer] = self.keys[layer][self.lo : self.hi], self.values[layer][self.lo : self.hi]
        keys_NKCD, values_NKCD = self.views[layer]
        if self.first == self.last:  # all rows at one position: a plain slice, several times cheaper than an index
            keys_NKCD.narrow(2, self.first, self.new).copy_(key_NKTD)
            values_NKCD.narrow(2, self.first, self.new).copy_(value_NKTD)
        else:
            target, d = self._target(key_NKTD.shape[1]), key_NKTD.shape[3]
            keys_NKCD.view(-1, d).index_copy_(0, target, key_NKTD.reshape(-1, d))
            values_NKCD.view(-1, value_NKTD.shape[3]).index_copy_(0, target, value_NKTD.reshape(-1, value_NKTD.shape[3]))
        return keys_NKCD, values_NKCD

    def _target(self, heads: int) -> Tensor:
        """Index of every new (row, head, position) in the rows' capacity, flattened to [N·K·C, D]."""
        if heads not in self.targets:
            device = self.starts.device
            row_N11 = torch.arange(self.hi - self.lo, device=device)[:, None, None]
            head_1K1 = torch.arange(heads, device=device)[None, :, None]
            position_N1T = self.starts[:, None, None] + torch.arange(self.new, device=device)
            self.targets[heads] = ((row_N11 * heads + head_1K1) * self.capacity + position_N1T).flatten()
        return self.targets[heads]

    def mask(self, window: int | None, copies: int, dtype: torch.dtype) -> tuple[Tensor | None, int, int]:
        """What may be seen, built once per forward: (additive mask, or None if everything may; first of the L positions read; end).

        Query position p sees key position j when p - window < j <= p. Decode (T = 1): [N·copies, 1, L], each row's mask
        repeated for its K heads. Prefill: [N, 1, copies·T, L], repeated for the G queries that share a key head. If all rows see
        the same, the first size is 1.
        """
        if (window, copies) not in self.masks:
            begin = max(0, self.first - window + 1) if window else 0
            end = self.length if begin else self.read  # if a beginning is left out there are gaps anyway
            alike = self.first == self.last
            inside = not window or self.length <= window
            if self.new == 1 and alike and end == self.length:
                mask = None  # every key in [begin, end) is visible to every row
            elif self.new > 1 and self.last == 0 and inside:
                mask = None  # plainly causal from position 0: SDPA has a kernel for that
            else:
                device = self.starts.device
                starts_N1 = self.starts[: 1 if alike else None, None]
                query_NT1 = (starts_N1 + torch.arange(self.new, device=device))[:, :, None]
                key_L = torch.arange(begin, end, device=device)
                seen_NTL = key_L <= query_NT1
                if window:
                    seen_NTL &= key_L > query_NT1 - window
                mask = torch.zeros(seen_NTL.shape, dtype=dtype, device=device).masked_fill_(~seen_NTL, -torch.inf)
                if self.new > 1:
                    mask = mask.repeat(1, copies, 1)[:, None]
                elif not alike:
                    mask = mask.repeat_interleave(copies, 0)
            self.masks[window, copies] = mask, begin, end
        return self.masks[window, copies]

    def window_of_each_row(self, window: int, heads: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """For decode: the last `window` positions of every row, built once per forward.

        Returns the additive mask [N·heads, 1, window] and the indices of visible positions in the rows' capacity, flattened to [N·K·C, D].
        """
        if (window, heads) not in self.windows:
            device = self.starts.device
            position_NW = self.starts[:, None] + torch.arange(1 - window, 1, device=device)
            mask_NW = torch.zeros(position_NW.shape, dtype=dtype, device=device).masked_fill_(position_NW < 0, -torch.inf)
            row_N1 = torch.arange(self.hi - self.lo, device=device)[:, None]
            slot_NK1 = (row_N1 * heads + torch.arange(heads, device=device))[:, :, None]
            seen_NKW = slot_NK1 * self.capacity + position_NW.clamp(min=0)[:, None, :]
            self.windows[window, heads] = mask_NW.repeat_interleave(heads, 0)[:, None], seen_NKW.flatten()
        return self.windows[window, heads]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length - self.new

    def attend(self, layer: int, query_NHTD: Tensor, key_NKTD: Tensor, value_NKTD: Tensor, scaling: float, window: int | None) -> Tensor:
        """Store the new keys and values, then softmax(q kᵀ · scaling + mask) v over everything stored; [N, T, H, D].

        Query heads are grouped under the key head they share, so K and V are never repeated.
        """
        key_NKCD, value_NKCD = self._store(layer, key_NKTD, value_NKTD)
        n, h, t, d = query_NHTD.shape
        k, e = value_NKCD.shape[1], value_NKCD.shape[3]
        g = h // k
        if t == 1:
            query_BGD = query_NHTD.reshape(n * k, g, d)
            if window and 4 * window <= self.last - self.first:  # rows far apart: a slice would hold many positions that no row sees
                mask, seen = self.window_of_each_row(window, k, query_NHTD.dtype)
                key_BLD = key_NKCD.view(-1, d).index_select(0, seen).view(n * k, window, d)
                value_BLD = value_NKCD.view(-1, e).index_select(0, seen).view(n * k, window, e)
            else:
                mask, begin, end = self.mask(window, k, query_NHTD.dtype)
                key_BLD = key_NKCD.view(n * k, -1, d)
                value_BLD = value_NKCD.view(n * k, -1, e)
                if end - begin < self.capacity:  # slicing everything would be a wasted call
                    key_BLD, value_BLD = key_BLD[:, begin:end], value_BLD[:, begin:end]
            if mask is None:
                scores_BGL = torch.bmm(query_BGD * scaling, key_BLD.transpose(1, 2))
            else:
                scores_BGL = torch.baddbmm(mask, query_BGD, key_BLD.transpose(1, 2), alpha=scaling)
            weights_BGL = torch.softmax(scores_BGL, -1, dtype=torch.float32).to(value_NKCD.dtype)
            return torch.bmm(weights_BGL, value_BLD).view(n, 1, h, e)

        mask, begin, end = self.mask(window, g, query_NHTD.dtype)
        key_NKLD, value_NKLD = key_NKCD[:, :, begin:end], value_NKCD[:, :, begin:end]
        if mask is None:
            out_NHTD = F.scaled_dot_product_attention(query_NHTD, key_NKLD, value_NKLD, is_causal=True, scale=scaling, enable_gqa=g > 1)
        else:
            query_NKQD = query_NHTD.reshape(n, k, g * t, d)
            out_NHTD = F.scaled_dot_product_attention(query_NKQD, key_NKLD, value_NKLD, attn_mask=mask, scale=scaling)
            out_NHTD = out_NHTD.reshape(n, h, t, -1)
        return out_NHTD.transpose(1, 2)


def attend(
    module: Any,
    query_NHTD: Tensor,
    key_NKTD: Tensor,
    value_NKTD: Tensor,
    attention_mask: Tensor | None,
    *,
    rows: RowCache,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """`RowCache.attend`, with the signature Hugging Face models call."""
    scaling = float(query_NHTD.shape[-1] ** -0.5 if scaling is None else scaling)
    return rows.attend(module.layer_idx, query_NHTD, key_NKTD, value_NKTD, scaling, sliding_window), None


# No mask function is registered under this name, which makes transformers build no mask at all.
AttentionInterface.register(ATTENTION, attend)


class RowModel:
    """A causal LM of any plain architecture, run over a range of rows of a `RowCache`. It contains no model code."""

    def __init__(self, model: Any) -> None:
        self.cache = RowCache()
        # a PEFT wrapper has its adapters inside the layers of the model it wraps
        self._whole = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body, self._head = self._whole.base_model, self._whole.get_output_embeddings()
        self.max_length = int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)
        self.vocabulary = int(self._whole.get_input_embeddings().weight.shape[0])
        self.headless = False
        self._norms: list[tuple[Any, Any]] = []  # modules, and their replacement while our forward runs
        self._check()
        self.refresh()

    @property
    def device(self) -> torch.device:
        return self._whole.get_input_embeddings().weight.device

    @torch.inference_mode()
    def forward(self, token_ids_NT: Ints, lo: int, starts_N: Ints, last_N: Ints | None = None) -> tuple[Tensor, Tensor]:
        """float32 logits [N, V] after token last_N[i] of each row (T = 1: after the only one), and the states these come from, [N, E].

        If body and head cannot be separated (`headless` is False) no state is seen: E = 0.
        """
        n, t = token_ids_NT.shape
        device = self.device
        self.cache.begin(lo, starts_N, t, device)
        ids_NT = torch.from_numpy(token_ids_NT).to(device)
        positions_NT = self.cache.starts[:, None]
        if last_N is None:
            with self._sampling():
                return self._finish(self._run(ids_NT, positions_NT)[:, 0])
        # padding may reach past the end of a position table
        positions_NT = (positions_NT + torch.arange(t, device=device)).clamp_(max=self.max_length - 1)
        with self._sampling():
            hidden_NTX = self._run(ids_NT, positions_NT)
            return self._finish(hidden_NTX[torch.arange(n, device=device), torch.from_numpy(last_N).to(device)])

    def _run(self, ids_NT: Tensor, positions_NT: Tensor) -> Tensor:
        run = self._body if self.headless else self._whole
        out = run(input_ids=ids_NT, position_ids=positions_NT, past_key_values=self.cache, use_cache=True, rows=self.cache)
        return out.last_hidden_state if self.headless else out.logits

    def _finish(self, hidden_NX: Tensor) -> tuple[Tensor, Tensor]:
        return (self._head(hidden_NX).float(), hidden_NX) if self.headless else (hidden_NX.float(), hidden_NX[:, :0])

    @contextmanager
    def _sampling(self, attention: str | None = ATTENTION) -> Iterator[None]:
        """No dropout, and our attention: only while our own forward runs, so that a training forward never sees either."""
        config, before = self._whole.config, self._whole.config._attn_implementation
        training = [module for module in self._whole.modules() if module.training] if self._whole.training else []
        config._attn_implementation = attention or before
        for module in training:
            vars(module)["training"] = False  # the plain assignment takes 10 µs per module
        for norm, shortened in self._norms:
            vars(norm)["forward"] = shortened
        try:
            yield
        finally:
            config._attn_implementation = before
            for module in training:
                vars(module)["training"] = True
            for norm, _ in self._norms:
                del vars(norm)["forward"]

    @torch.no_grad()
    def _check(self) -> None:
        """Prove on a tiny input that body + head, our attention and our cache give the model's own logits."""
        ids = np.arange(12, dtype=np.int64).reshape(2, 6) * 7 % self.vocabulary
        with self._sampling(attention=None):
            whole = self._whole(input_ids=torch.from_numpy(ids).to(self.device)).logits.float()
        exact = self._whole.get_input_embeddings().weight.dtype is torch.float32
        tolerance = (1e-3 if exact else 0.1) * float(whole.abs().max())
        first, second, last = np.zeros(2, np.int64), np.array([4, 3]), np.array([3, 2])
        for headless in (self._head is not None, False):
            self.headless = headless
            self.cache.reserve(2, 8)
            try:
                prefilled, _ = self.forward(ids[:, :4], 0, first, last)
                decoded, _ = self.forward(ids[[0, 1], second][:, None], 0, second)
                errors = (prefilled - whole[[0, 1], last], decoded - whole[[0, 1], second])
                fine = all(float(error.abs().max()) <= tolerance for error in errors)
            except (AttributeError, TypeError, KeyError):
                fine = False
            self.cache.clear()
            if fine:
                return
        raise ModelNotUsable(
            f"{type(self._whole).__name__} gives other logits through the sampler's attention than through its own "
            "(soft-capped scores, attention sinks or ALiBi?); serve it with vLLM and use it as a remote policy."
        )

    @torch.inference_mode()
    def refresh(self) -> None:
        """Search again for norms that have a faster form, because the model's modules may have changed."""
        norms = [module for module in self._whole.modules() if _is_plain_rms_norm(module)] if self.device.type == "cpu" else []
        self._norms = [(norm, partial(_rms_norm, norm, _epsilon(norm))) for norm in norms]


def _rms_norm(norm: Any, epsilon: Tensor, x: Tensor) -> Tensor:
    """x / sqrt(mean(x²) + ε) · weight, from one reduction, in a quarter of the time of the models' own six operators in prefill."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x.mul(torch.addcmul(epsilon, length, length, value=1 / x.shape[-1]).rsqrt_()).mul_(norm.weight)


def _epsilon(norm: Any) -> Tensor:
    return norm.weight.new_tensor(norm.variance_epsilon)  # a plain number would become a new tensor at every step


@torch.no_grad()
def _is_plain_rms_norm(module: Any) -> bool:
    """Whether `_rms_norm` gives the same result as the module."""
    if not type(module).__name__.endswith("RMSNorm") or "forward" in vars(module) or not hasattr(module, "variance_epsilon"):
        return False
    x = torch.linspace(-3, 2, 2 * module.weight.numel(), dtype=module.weight.dtype).view(2, -1)
    return module.weight.dtype is torch.float32 and torch.allclose(module(x), _rms_norm(module, _epsilon(module), x), rtol=1e-5, atol=1e-7)
