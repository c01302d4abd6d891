"""The base model is an ordinary checkpoint: saved, it loads through the Auto classes as the same model and tokenizer."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from zerosearch.lab.base_model import build_model
from zerosearch.lab.language import make_tokenizer


def test_a_seed_gives_one_model() -> None:
    one, again, other = (list(build_model(50, seed).parameters()) for seed in (0, 0, 1))
    assert all(map(torch.equal, one, again)) and not all(map(torch.equal, one, other))


def test_saved_and_loaded_as_anybody_s_checkpoint(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    model = build_model(len(tokenizer), seed=0).eval()
    assert 0.3e6 < sum(p.numel() for p in model.parameters()) < 0.4e6
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    loaded_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "Question: who founded Silent Harbor?<think> i must look for the founder </think><search> founder Silent Harbor </search>"
    ids = tokenizer(text)["input_ids"]
    assert loaded_tokenizer(text)["input_ids"] == ids and loaded_tokenizer.decode(ids) == tokenizer.decode(ids)
    assert (loaded_tokenizer.eos_token_id, loaded_tokenizer.pad_token_id, loaded.config.eos_token_id) == (2, 0, 2)
    assert torch.equal(loaded(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits)
