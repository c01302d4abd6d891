"""A policy from a GGUF file: a tiny one that is written here, and what may be wrong with a file."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from zerosearch.cli import run
from zerosearch.core.errors import ModelNotUsable
from zerosearch.core.types import Sampling
from zerosearch.models.local import LocalModel

gguf = pytest.importorskip("gguf", reason="reads GGUF files: pip install 'zerosearch-rl[gguf]'")
HIDDEN, LAYERS, HEADS, FEED = 32, 1, 2, 64


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer with a byte-level vocabulary."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path, rng = tmp_path_factory.mktemp("gguf") / "tiny.gguf", np.random.default_rng(0)
    words = ["<|end|>", *bytes_to_unicode().values(), "ab", "cd"]
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in {
        "context_length": 256,
        "embedding_length": HIDDEN,
        "block_count": LAYERS,
        "feed_forward_length": FEED,
        "head_count": HEADS,
        "head_count_kv": HEADS,
        "vocab_size": len(words),
        "rope_dimension_count": HIDDEN // HEADS,
        "layer_norm_rms_eps": 1e-5,
    }.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3] + [1] * (len(words) - 1))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {"token_embd": (len(words), HIDDEN), "output": (len(words), HIDDEN), "output_norm": (HIDDEN,)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{norm}": (HIDDEN,) for norm in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{i}.attn_{name}": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.ffn_gate": (FEED, HIDDEN), f"blk.{i}.ffn_up": (FEED, HIDDEN), f"blk.{i}.ffn_down": (HIDDEN, FEED)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", (rng.normal(size=shape) * 0.1).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_is_a_policy_like_any_other(file: Path) -> None:
    policy = LocalModel.load(str(file), "cpu")
    prompt = policy.renderer.prompt("who <search>")
    assert policy.renderer.decode(prompt).endswith("who <search>")
    generation = asyncio.run(policy.generate(prompt, Sampling(5, temperature=0.0), "one"))
    assert len(generation.token_ids) == len(generation.logprobs) <= 5


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no file .*give a GGUF file"), (b"rubbish" * 99, "transformers cannot read the GGUF file")]
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ModelNotUsable, match=said) as caught:
        LocalModel.load(str(tmp_path / "x.gguf"), "cpu")
    assert "\n" not in str(caught.value)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "who?", "--policy", str(tmp_path / "none.gguf"), "--agent", "direct"]) == 2
    assert "there is no file" in capsys.readouterr().err
