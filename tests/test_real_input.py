"""`zerosearch train` on what users bring: real questions, a real corpus, a byte-level tokenizer, an endpoint as the simulator."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from endpoint import serving
from zerosearch.cli import run
from zerosearch.models.local import LocalModel


@pytest.fixture(scope="module")
def checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a byte-level BPE tokenizer trained on real questions: its tags are several tokens each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    with gzip.open(shared / "data" / "qa" / "train_hotpotqa.jsonl.gz", "rt") as lines:
        questions = [json.loads(line)["question"] for line in lines]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        questions,
        trainers.BpeTrainer(
            vocab_size=2000, special_tokens=["<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    folder = tmp_path_factory.mktemp("real") / "llama"
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_recipe(file: Path, shared: Path, checkpoint: Path, engine: str) -> Path:
    file.write_text(f"""
[policy]
model = '{checkpoint}'
device = 'cpu'
[questions]
train = '{shared / "data" / "qa" / "train_hotpotqa.jsonl.gz"}'
[engine]
{engine}
k = 3
[rollout]
max_turns = 3
max_turn_tokens = 24
max_observation_tokens = 300
max_tokens = 1500
[rl]
steps = 2
questions_per_step = 3
group_size = 2
[run]
workers = 1
""")
    return file


def read_trajectories(run_path: Path) -> list[dict]:
    with gzip.open(run_path / "trajectories.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def test_hotpotqa_with_bm25_over_real_passages(shared: Path, passages: Path, checkpoint: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml", shared, checkpoint, f"kind = 'bm25'\ncorpus = '{passages}'")
    out = tmp_path / "run"
    assert run(["train", str(recipe), f"run.out={out}"]) == 0
    rows = read_trajectories(out)
    assert len(rows) == 12
    assert all(row["question"]["id"].startswith("hotpotqa_train") and row["scores"] is not None for row in rows)
    # a random model never finishes a tag: each turn is explained, and the explanation is the environment's
    assert all([s["author"] for s in row["spans"]][:3] == ["prompt", "policy", "environment"] for row in rows)

    (newest := sorted((out / "checkpoints").iterdir())[-1]).rename(newest.with_name(".partial-000002"))
    assert run(["train", "--resume", str(out)]) == 0
    assert read_trajectories(out) == rows


def test_an_endpoint_as_the_simulator(micro: Path, tmp_path: Path) -> None:
    from micro import micro_recipe

    with serving(LocalModel.load(str(micro / "policy"), "cpu")) as url:
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(micro_recipe(micro, kind="simulated", url=url, template="micro", max_new_tokens=40))
        assert run(["train", str(recipe), f"run.out={tmp_path / 'run'}", "curriculum.end=1.0"]) == 0
    searches = [search for row in read_trajectories(tmp_path / "run") for search in row["searches"]]
    assert searches and {search["quality"] for search in searches} <= {"useful", "noisy"}
    assert all(search["documents"] for search in searches)
    # one document was asked of a model that knows of no five: the record says so
    assert any("instead of 5" in search["remark"] for search in searches)
