"""LoRA: only the adapter learns, the reference is the model without it, and a run with it resumes bit by bit."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from micro import micro_recipe
from zerosearch.api.training import run_training
from zerosearch.config.recipe import load_recipe, open_run
from zerosearch.core.errors import BadConfig
from zerosearch.lab.base_model import build_model
from zerosearch.models.causal import token_logprobs
from zerosearch.models.local import LocalModel
from zerosearch.models.lora import attach, without_adapter
from zerosearch.rl.checkpoint import finished_checkpoints
from zerosearch.rl.learner import Learner, make_reference
from zerosearch.rl.settings import RLConfig
from zerosearch.runs.directory import RunDirectory

QUIET = Console(quiet=True)


@pytest.fixture
def model() -> Any:
    pytest.importorskip("peft")
    return build_model(40, seed=1, context=64).eval()


def test_an_adapter_starts_as_nothing_and_can_be_switched_off(model: Any) -> None:
    ids = torch.arange(3, 15)[None]
    chosen = torch.ones_like(ids, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
    plain = token_logprobs(model, ids, chosen)[0]
    adapted = attach(copy.deepcopy(model), rank=4, alpha=8.0, seed=0)
    assert torch.equal(token_logprobs(adapted, ids, chosen)[0], plain)
    for name, parameter in adapted.named_parameters():
        assert parameter.requires_grad == ("lora" in name)
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.5)
    assert not torch.allclose(token_logprobs(adapted, ids, chosen)[0], plain, atol=1e-2)
    with without_adapter(adapted):
        assert torch.equal(token_logprobs(adapted, ids, chosen)[0], plain)
    assert not torch.allclose(token_logprobs(adapted, ids, chosen)[0], plain, atol=1e-2)


def test_the_reference_is_the_model_without_its_adapter(model: Any) -> None:
    rl = RLConfig()
    adapted = attach(model, rank=4, alpha=8.0, seed=0)
    assert make_reference(adapted, rl, lora=True) is adapted
    learner = Learner(adapted, adapted, rl, 1.0, 0)
    assert len(learner.trained.tensors) == sum("lora" in name for name, _ in adapted.named_parameters())


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_run_with_an_adapter(micro: Path, tmp_path: Path, algorithm: str) -> None:
    pytest.importorskip("peft")
    engine = {"kind": "simulated", "model": str(micro / "simulator"), "template": "micro", "max_new_tokens": 24}
    overrides = ("policy.lora_rank=4", f"rl.algorithm={algorithm}", "rl.learning_rate=1e-2")
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "recipe.toml").write_text(micro_recipe(micro, **engine))
    run_training(load_recipe(tmp_path / "recipe.toml", [f'run.out="{run.path}"', *overrides]), QUIET)
    newest = finished_checkpoints(run)[-1]
    one = load_file(newest / "adapter_model.safetensors")
    newest.rename(newest.with_name(".partial-000003"))  # as if killed while it wrote the last checkpoint
    run_training(open_run(run.path)[1], QUIET, resume=True)
    other = load_file(newest / "adapter_model.safetensors")
    assert any(bool(tensor.any()) for name, tensor in one.items() if "lora_B" in name)  # it has learned
    assert all(torch.equal(one[name], other[name]) for name in one)
    loaded = LocalModel.load(str(newest), "cpu")
    assert any("lora" in name for name, _ in loaded.model.named_parameters())


def test_without_peft_one_line_says_what_to_do() -> None:
    try:
        import peft  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(BadConfig, match=r"LoRA \(rank 4\) needs peft, .* pip install 'zerosearch-rl\[tune\]'"):
            attach(build_model(40, seed=1, context=64), 4, 8.0, 0)
