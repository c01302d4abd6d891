"""Texts to vectors: pooling by pencil, and a tiny encoder saved as any is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_encoder import write_encoder
from zerosearch.core.errors import BadConfig, ModelNotUsable
from zerosearch.models.encoder import Encoder, pool

WORDS = "paris is the capital of france lyon a city river rome italy query passage :".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("encoder"), WORDS))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2.0, 20.0], [5.0, 50.0]]), ("cls", [[1.0, 10.0], [4.0, 40.0]]), ("last", [[3.0, 30.0], [6.0, 60.0]])],
)
def test_pooling_by_pencil(pooling: str, expected: list[list[float]]) -> None:
    # the first text is padded on the right, the second on the left; the padding would spoil any of the three
    hidden = torch.tensor([[[1.0, 10], [2, 20], [3, 30], [99, 99]], [[99, 99], [4, 40], [5, 50], [6, 60]]])
    mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
    assert pool(hidden, mask, pooling).tolist() == expected


def test_vectors_have_length_one_and_do_not_depend_on_company(folder: str) -> None:
    encoder = Encoder.load(folder, "cpu", max_tokens=64)
    texts = ["paris", "the capital of france is paris", "", "lyon is a city " * 40, "unheard-of words"]
    vectors = encoder.encode(texts, batch_size=2)
    assert vectors.shape == (5, 32) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert encoder.encode([text])[0] == pytest.approx(vector, abs=1e-5)
    free = Encoder.load(folder, "cpu", max_tokens=64, normalised=False).encode(texts)
    assert free / np.linalg.norm(free, axis=1, keepdims=True) == pytest.approx(vectors, abs=1e-5)


def test_only_the_encoder_of_an_encoder_decoder_runs(tmp_path: Path, folder: str) -> None:
    from transformers import AutoTokenizer, T5Config, T5Model

    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    assert Encoder.load(str(tmp_path), "cpu").encode(["paris", "rome"]).shape == (2, 16)


def test_what_cannot_be_right(folder: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="unknown pooling 'men'; did you mean 'mean'"):
        Encoder.load(folder, "cpu", max_tokens=64, pooling="men")
    with pytest.raises(BadConfig, match="encoder_max_tokens = 256, but the encoder has 64 positions; choose at most 64"):
        Encoder.load(folder, "cpu")
    with pytest.raises(ModelNotUsable, match="there is no folder"):
        Encoder.load(str(tmp_path / "nowhere"), "cpu")
