"""Texts to vectors, with any encoder of transformers. Suffixes: B texts, T tokens, D dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from zerosearch.core.errors import BadConfig, one_of
from zerosearch.models.local import load_model

POOLINGS = ("mean", "cls", "last")


def pool(hidden_BTD: Float[Tensor, "B T D"], mask_BT: Int[Tensor, "B T"], pooling: str) -> Float[Tensor, "B D"]:
    """One vector per text: the mean of its tokens' (Σ_t m_t h_t / Σ_t m_t), its first token's, or its last token's."""
    if pooling == "mean":
        weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)
    positions_BT = torch.arange(mask_BT.shape[1], device=mask_BT.device).expand_as(mask_BT)
    # on whichever side the padding is: the first or the last position that is not padding
    attended_BT = positions_BT.masked_fill(mask_BT == 0, -1)
    chosen_B = attended_BT.amax(1) if pooling == "last" else (mask_BT != 0).int().argmax(1)
    return hidden_BTD[torch.arange(len(hidden_BTD), device=hidden_BTD.device), chosen_B]


class Encoder:
    """`encode(texts)`: float32 vectors, of length 1 when `normalised`, so that their inner product is the cosine."""

    def __init__(self, model: Any, tokenizer: Any, *, pooling: str = "mean", max_tokens: int = 256, normalised: bool = True) -> None:
        """Raises BadConfig for an unknown pooling, or for more tokens than the model has positions."""
        config = model.config
        if config.is_encoder_decoder:
            model = model.get_encoder()
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and positions < max_tokens:
            raise BadConfig(f"encoder_max_tokens = {max_tokens}, but the encoder has {positions} positions; choose at most {positions}.")
        self.model, self.tokenizer = model, tokenizer
        self.pooling = one_of("pooling", pooling, POOLINGS)
        self.max_tokens, self.normalised = max_tokens, normalised
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def load(cls, name: str, device: str = "auto", **settings: Any) -> "Encoder":
        """An encoder from a folder or a hub id. Raises ModelNotUsable."""
        model, tokenizer = load_model(name, device, kind="AutoModel")
        return cls(model, tokenizer, **settings)

    @property
    def on_gpu(self) -> bool:
        return self.model.device.type != "cpu"

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> NDArray[np.float32]:
        """[len(texts), D]; texts of like length share a batch, so that little is padding."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        vectors = [self._encode_batch([texts[i] for i in batch]) for batch in batches]
        result = np.empty((len(texts), vectors[0].shape[1]), dtype=np.float32)
        result[order] = np.concatenate(vectors)
        return result

    @torch.inference_mode()
    def _encode_batch(self, texts: list[str]) -> NDArray[np.float32]:
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt").to(self.model.device)
        vectors_BD = pool(self.model(**inputs).last_hidden_state, inputs["attention_mask"], self.pooling).float()
        if self.normalised:
            vectors_BD = torch.nn.functional.normalize(vectors_BD, dim=-1)
        return vectors_BD.cpu().numpy()
