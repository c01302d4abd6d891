"""A recipe as verl's own settings, without importing verl. What verl cannot do as the recipe says is refused, never left out in silence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from zerosearch.config import GuardsConfig, Recipe
from zerosearch.errors import BadConfig
from zerosearch.rl.algorithms import ALGORITHMS, Algorithm, fixed_length, sequence_mean, token_mean

MODULE = "verl.trainer.main_ppo"
ACTOR, REF, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.ref", "actor_rollout_ref.rollout"
LOSSES = {
    "clipped_policy_loss": "vanilla",
    "policy_gradient_loss": "gpg",
    "sequence_policy_loss": "gspo",
    "weight_clipped_loss": "cispo",
}
MEANS = {token_mean: "token-mean", sequence_mean: "seq-mean-token-mean", fixed_length: "seq-mean-token-sum-norm"}
NO_DUAL_CLIP = 1e6  # verl bounds the loss of a negative advantage by this ratio (3 by default); our loss, and PPO's, is not bounded


def estimator_of(algorithm: str) -> str:
    """verl's name for the advantages: its own GAE, and for the others ours (estimators.py), which leave failed rollouts out."""
    return "gae" if ALGORITHMS[algorithm].needs_critic else f"zerosearch_{algorithm}"


def refuse_what_verl_lacks(recipe: Recipe) -> None:
    """Raises BadConfig for the first setting that would not mean the same there."""
    rl, cluster = recipe.rl, recipe.cluster
    for wrong, line in (
        (recipe.curriculum.schedule == "adaptive", "curriculum.schedule = 'adaptive' follows rewards that verl's workers do not see"),
        (rl.optimizer != "adamw", f"rl.optimizer = '{rl.optimizer}' is not one of verl's; choose adamw"),
        (rl.schedule == "linear", "rl.schedule = 'linear' is not one of verl's; choose constant or cosine"),
        (not rl.mask_observations, "rl.mask_observations = false is for the embedded trainer's study of masking only"),
        (recipe.guards != GuardsConfig(), "[guards] watch the embedded trainer only; leave them as they are"),
        (rl.questions_per_step % rl.minibatches, f"rl.minibatches = {rl.minibatches} must divide rl.questions_per_step"),
        (cluster.gpus % cluster.tensor_parallel, f"cluster.tensor_parallel = {cluster.tensor_parallel} must divide {cluster.gpus} GPUs"),
        (recipe.policy.dtype == "float32" and cluster.strategy == "megatron", "policy.dtype = 'float32': Megatron trains in bfloat16"),
    ):
        if wrong:
            raise BadConfig(f"engine=verl: {line}.")


def verl_settings(recipe: Recipe, run: Path) -> dict[str, Any]:
    """What `recipe` comes to for a run in the directory `run`; a key with + is new to verl's defaults. Raises BadConfig."""
    refuse_what_verl_lacks(recipe)
    rollout, rl, keep, cluster = recipe.rollout, recipe.rl, recipe.run, recipe.cluster
    algorithm = ALGORITHMS[rl.algorithm]
    evaluates = bool(recipe.evaluation_engine and recipe.questions.held_out)
    pack = max(rl.microbatch_tokens, rollout.max_tokens)  # tokens of a microbatch; one rollout must fit
    files = run / "verl"
    settings: dict[str, Any] = {
        **({"model_engine": "megatron"} if cluster.strategy == "megatron" else {}),
        "data.train_files": str(files / "train.parquet"),
        "data.val_files": str(files / ("held_out.parquet" if evaluates else "train.parquet")),
        "data.train_batch_size": rl.questions_per_step,
        "data.seed": keep.seed,
        "data.dataloader_num_workers": 0,
        "data.max_prompt_length": rollout.max_tokens,
        "data.max_response_length": rollout.max_tokens,
        "actor_rollout_ref.model.path": recipe.policy.model,
        "actor_rollout_ref.model.enable_gradient_checkpointing": rl.gradient_checkpointing,
        **_actor(recipe, algorithm, pack),
        **_memory(recipe, ACTOR, REF),
        f"{ROLLOUT}.name": cluster.server,
        f"{ROLLOUT}.n": rl.group_size,
        f"{ROLLOUT}.temperature": rollout.temperature,
        f"{ROLLOUT}.top_p": rollout.top_p,
        f"{ROLLOUT}.max_model_len": rollout.max_tokens + 1,
        f"{ROLLOUT}.skip_tokenizer_init": False,  # turns end at a closing tag, which is text
        f"{ROLLOUT}.tensor_model_parallel_size": cluster.tensor_parallel,
        f"{ROLLOUT}.gpu_memory_utilization": cluster.gpu_memory_utilization,
        f"{ROLLOUT}.agent.num_workers": cluster.agent_workers,
        f"{ROLLOUT}.agent.default_agent_loop": "zerosearch",
        f"{ROLLOUT}.agent.agent_loop_config_path": str(files / "agent_loop.yaml"),
        "algorithm.adv_estimator": estimator_of(rl.algorithm),
        "algorithm.gamma": rl.discount,
        "algorithm.lam": rl.gae_lambda,
        **({"algorithm.rollout_correction.rollout_is": "token"} if rl.importance_cap else {}),
        **({"algorithm.rollout_correction.rollout_is_threshold": rl.importance_cap} if rl.importance_cap else {}),
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus_per_node,
        "trainer.total_training_steps": rl.steps,
        "trainer.total_epochs": rl.steps,  # the steps end it, not the epochs
        "trainer.save_freq": keep.checkpoint_every,
        "trainer.max_actor_ckpt_to_keep": keep.keep_checkpoints,
        "trainer.max_critic_ckpt_to_keep": keep.keep_checkpoints,
        "trainer.val_before_train": evaluates,
        "trainer.test_freq": (keep.evaluate_every or rl.steps) if evaluates else -1,
        "trainer.default_local_dir": str(run / "checkpoints"),
        "trainer.project_name": "zerosearch",
        "trainer.experiment_name": run.name,
        "trainer.logger": ["console", *keep.tracker_names],
        "trainer.v1.sampler.custom_sampler.path": "pkg://zerosearch.scaling.verl.sampler",
        "trainer.v1.sampler.custom_sampler.name": "RunSampler",
        "+trainer.v1.sampler.sampler_kwargs.run": str(run),
    }
    if recipe.policy.lora_rank:
        settings["actor_rollout_ref.model.lora_rank"] = recipe.policy.lora_rank
        settings["actor_rollout_ref.model.lora_alpha"] = int(recipe.policy.lora_alpha)
        settings[f"{ROLLOUT}.load_format"] = "safetensors"  # the server loads what does not learn by itself
    if algorithm.needs_critic:
        settings |= _critic(recipe, pack)
    own = {key.lstrip("+"): key for key in settings}
    return settings | {own.get(key, f"++{key}"): value for key, value in _flat(cluster.verl)}


def _actor(recipe: Recipe, algorithm: Algorithm, pack: int) -> dict[str, Any]:
    rl, strategy = recipe.rl, recipe.cluster.strategy
    clip = rl.clip or algorithm.clip
    loss = {
        f"{ACTOR}.ppo_mini_batch_size": rl.questions_per_step // rl.minibatches,
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": pack,
        f"{ACTOR}.ppo_epochs": rl.epochs,
        f"{ACTOR}.policy_loss.loss_mode": LOSSES[algorithm.loss],
        f"{ACTOR}.loss_agg_mode": MEANS[algorithm.aggregation],
        f"{ACTOR}.loss_scale_factor": min(recipe.rollout.max_tokens, recipe.rollout.max_turns * recipe.rollout.max_turn_tokens),
        f"{ACTOR}.clip_ratio": clip,
        f"{ACTOR}.clip_ratio_low": clip,
        f"{ACTOR}.clip_ratio_high": rl.clip_high or algorithm.clip_high or clip,
        f"{ACTOR}.clip_ratio_c": NO_DUAL_CLIP,
        **_optimizer(recipe, f"{ACTOR}.optim", rl.learning_rate),
    }
    if strategy != "megatron":  # its own actor settings say so
        loss[f"{ACTOR}.strategy"] = strategy
    if algorithm.aggregation is not fixed_length:
        del loss[f"{ACTOR}.loss_scale_factor"]
    if rl.kl_coefficient and rl.kl_in == "loss":
        return {
            **loss,
            f"{ACTOR}.use_kl_loss": True,
            f"{ACTOR}.kl_loss_coef": rl.kl_coefficient,
            f"{ACTOR}.kl_loss_type": rl.kl_estimator,
        }
    if rl.kl_coefficient:
        penalty = {"algorithm.use_kl_in_reward": True, "algorithm.kl_penalty": rl.kl_estimator}
        return {**loss, **penalty, "algorithm.kl_ctrl.kl_coef": rl.kl_coefficient}
    return loss


def _critic(recipe: Recipe, pack: int) -> dict[str, Any]:
    """verl's critic is a model of its own, started from the policy; ours is a head on the policy's trunk."""
    rl, strategy = recipe.rl, recipe.cluster.strategy
    critic = {
        "critic.enable": True,
        "critic.model.path": recipe.policy.model,
        "critic.model.enable_gradient_checkpointing": rl.gradient_checkpointing,
        "critic.ppo_max_token_len_per_gpu": pack,
        "critic.cliprange_value": rl.value_clip or NO_DUAL_CLIP,
        **_optimizer(recipe, "critic.optim", rl.critic_learning_rate or 10 * rl.learning_rate),
        # ours counts steps from 0, verl from 1, and its policy learns in the step that is named
        "trainer.critic_warmup": rl.critic_warmup_steps + 1 if rl.critic_warmup_steps else 0,
        **_memory(recipe, "critic"),
    }
    return critic if strategy == "megatron" else critic | {"critic.strategy": strategy}


def _memory(recipe: Recipe, *models: str) -> dict[str, Any]:
    """Precision, and what leaves the GPU while it is not needed. Masters are float32 either way."""
    settings: dict[str, Any] = {}
    for model in models:
        inner = "megatron" if recipe.cluster.strategy == "megatron" else "fsdp" if model == "critic" else "fsdp_config"
        if recipe.policy.dtype == "float32":
            settings[f"+{model}.{inner}.mixed_precision.param_dtype"] = "fp32"
        if recipe.cluster.offload:
            settings[f"{model}.{inner}.param_offload"] = True
            settings |= {} if model == REF else {f"{model}.{inner}.optimizer_offload": True}
    if recipe.policy.dtype == "float32":
        settings[f"{ROLLOUT}.dtype"] = "float32"
    return settings


def _optimizer(recipe: Recipe, place: str, rate: float) -> dict[str, Any]:
    rl, megatron = recipe.rl, recipe.cluster.strategy == "megatron"
    settings = {f"{place}.lr": rate, f"{place}.weight_decay": 0.0, f"{place}.betas": [0.9, 0.95], f"{place}.clip_grad": rl.max_grad_norm}
    settings[f"{place}.lr_warmup_steps"] = rl.warmup_steps if rl.warmup_steps > 1 else 0  # a first step at the full rate is none
    settings[f"{place}.lr_decay_style" if megatron else f"{place}.lr_scheduler_type"] = rl.schedule
    return settings


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """As Hydra reads them."""
    return [f"{key}={_hydra(value)}" for key, value in settings.items()]


def command_line(settings: Mapping[str, Any]) -> str:
    """The line for a shell, or a scheduler's script."""
    return shlex.join(["python", "-m", MODULE, *overrides(settings)])


def _hydra(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ",".join(_hydra(item) for item in cast(list[object], value)) + "]"
    if not isinstance(value, str) or re.fullmatch(r"[\w./:@+-]+", value):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
