"""A recipe as verl's settings: what becomes of each key, and what is refused. None of it needs verl."""

from pathlib import Path
from typing import Any

import pytest

from zerosearch.config.recipe import load_recipe, make_recipe
from zerosearch.core.errors import BadConfig
from zerosearch.integrations.verl.settings import command_line, overrides, verl_settings

RUN = Path("/runs/here")
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def settings(**sections: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {
        "policy": {"model": "Qwen/Qwen2.5-3B", "dtype": "bfloat16"},
        "questions": {"train": "train.jsonl"},
        "engine": {"url": "http://simulator:8000/v1"},
    }
    return verl_settings(make_recipe({k: {**base.get(k, {}), **sections.get(k, {})} for k in {**base, **sections}}), RUN)


def test_the_paper_s_recipe() -> None:
    found = settings(rl={"algorithm": "reinforce", "kl_coefficient": 0.001}, cluster={"nodes": 2}, rollout={"max_tokens": 4096})
    assert found["algorithm.adv_estimator"] == "zerosearch_reinforce" and found[f"{ACTOR}.policy_loss.loss_mode"] == "gpg"
    assert (found["trainer.nnodes"], found["trainer.n_gpus_per_node"]) == (2, 8)
    assert (found["data.train_batch_size"], found[f"{ROLLOUT}.n"], found["trainer.total_training_steps"]) == (64, 5, 200)
    assert (found[f"{ACTOR}.use_kl_loss"], found[f"{ACTOR}.kl_loss_coef"], found[f"{ACTOR}.kl_loss_type"]) == (True, 0.001, "k3")
    assert found[f"{ACTOR}.optim.lr"] == 1e-6 and found[f"{ROLLOUT}.max_model_len"] == 4097
    assert found["trainer.val_before_train"] is False and found["trainer.test_freq"] == -1
    assert not any(key.startswith("critic.") for key in found)


def test_ppo_has_a_critic_at_ten_times_the_rate_and_verl_s_own_gae() -> None:
    found = settings(rl={"algorithm": "ppo", "critic_warmup_steps": 3})
    assert found["algorithm.adv_estimator"] == "gae" and found["critic.enable"] is True
    assert found["critic.optim.lr"] == pytest.approx(1e-5) and found["trainer.critic_warmup"] == 4


@pytest.mark.parametrize(
    ("algorithm", "loss", "mean"),
    [
        ("grpo", "vanilla", "token-mean"),
        ("dr_grpo", "vanilla", "seq-mean-token-sum-norm"),
        ("gspo", "gspo", "seq-mean-token-mean"),
        ("cispo", "cispo", "token-mean"),
        ("rloo", "gpg", "token-mean"),
    ],
)
def test_each_algorithm_s_loss(algorithm: str, loss: str, mean: str) -> None:
    found = settings(rl={"algorithm": algorithm})
    assert (found[f"{ACTOR}.policy_loss.loss_mode"], found[f"{ACTOR}.loss_agg_mode"]) == (loss, mean)
    assert found.get(f"{ACTOR}.loss_scale_factor") == (2000 if algorithm == "dr_grpo" else None)
    assert found[f"{ACTOR}.clip_ratio_high"] == {"gspo": 4e-4, "cispo": 4.0}.get(algorithm, 0.2)


def test_kl_in_the_reward_importance_weights_lora_float32_and_offload() -> None:
    found = settings(
        rl={"kl_in": "reward", "kl_estimator": "k1", "importance_cap": 2.0},
        policy={"lora_rank": 16, "dtype": "float32"},
        cluster={"offload": True, "strategy": "fsdp"},
    )
    assert found["algorithm.use_kl_in_reward"] is True and found["algorithm.kl_penalty"] == "k1"
    assert f"{ACTOR}.use_kl_loss" not in found
    assert found["algorithm.rollout_correction.rollout_is_threshold"] == 2.0
    assert found["actor_rollout_ref.model.lora_rank"] == 16 and found[f"{ROLLOUT}.load_format"] == "safetensors"
    assert found[f"+{ACTOR}.fsdp_config.mixed_precision.param_dtype"] == "fp32" and found[f"{ROLLOUT}.dtype"] == "float32"
    assert found[f"{ACTOR}.fsdp_config.optimizer_offload"] is True and found["actor_rollout_ref.ref.fsdp_config.param_offload"] is True
    assert "actor_rollout_ref.ref.fsdp_config.optimizer_offload" not in found


def test_megatron_is_an_engine_of_its_own() -> None:
    found = settings(cluster={"strategy": "megatron", "offload": True})
    assert found["model_engine"] == "megatron" and found[f"{ACTOR}.megatron.param_offload"] is True
    assert found[f"{ACTOR}.optim.lr_decay_style"] == "constant" and f"{ACTOR}.strategy" not in found


def test_settings_of_verl_s_own_come_on_top() -> None:
    found = settings(cluster={"verl": {"trainer": {"project_name": "mine", "new": {"x": 1}}, "data": {"train_batch_size": 8}}})
    assert found["trainer.project_name"] == "mine" and found["++trainer.new.x"] == 1 and found["data.train_batch_size"] == 8


def test_the_command_line_quotes_what_hydra_and_a_shell_would_read_otherwise() -> None:
    assert overrides({"a": ["x", 1], "b": None, "c": True, "d": "two words, it's", "e": 1e-06}) == [
        "a=[x,1]", "b=null", "c=True", "d='two words, it\\'s'", "e=1e-06",
    ]  # fmt: skip
    assert command_line("verl.trainer.main_ppo", {"a.b": "x y"}) == "python -m verl.trainer.main_ppo 'a.b='\"'\"'x y'\"'\"''"


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"curriculum": {"schedule": "adaptive"}}, "adaptive"),
        ({"rl": {"optimizer": "adamw_8bit"}}, "choose adamw"),
        ({"rl": {"schedule": "linear"}}, "choose constant or cosine"),
        ({"rl": {"mask_observations": False}}, "study of masking"),
        ({"guards": {"max_kl": 1.0}}, "guards"),
        ({"rl": {"minibatches": 3}}, "must divide rl.questions_per_step"),
        ({"cluster": {"tensor_parallel": 3}}, "must divide 8 GPUs"),
        ({"rl": {"questions_per_step": 3, "group_size": 5}}, "15 rollouts of a minibatch .* among 8 GPUs"),
        ({"policy": {"dtype": "float32"}, "cluster": {"strategy": "megatron"}}, "bfloat16"),
    ],
)
def test_what_verl_cannot_do_is_refused(sections: dict[str, Any], line: str) -> None:
    with pytest.raises(BadConfig, match=line):
        settings(**sections)


RECIPES = sorted((Path(__file__).resolve().parents[2] / "src" / "zerosearch" / "recipes" / "cluster").glob("*.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda p: p.stem)
def test_the_recipes_that_are_shipped(file: Path) -> None:
    recipe = load_recipe(file, ["engine=verl"])
    name = recipe.policy.model.rpartition("/")[2].lower().removesuffix("-base")
    assert file.stem.startswith(name) and f"_{recipe.rl.algorithm}_" in f"{file.stem}_"
    assert verl_settings(recipe, RUN)["trainer.val_before_train"] is True
    assert f"zerosearch train {file.stem} engine=verl engine.url=" in file.read_text() and load_recipe(file.stem, ["engine=verl"]) == recipe
