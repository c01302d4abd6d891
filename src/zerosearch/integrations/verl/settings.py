"""A recipe as verl's own settings, without importing verl. What verl cannot do as the recipe says is refused, never left out in silence."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from zerosearch.config.recipe import GuardsConfig, Recipe
from zerosearch.core.errors import BadConfig
from zerosearch.rl.algorithms import ALGORITHMS, Aggregation, fixed_length, sequence_mean, token_mean

Settings = dict[str, Any]
MODULE = "verl.trainer.main_ppo"
LOSSES = {"clipped_policy_loss": "vanilla", "policy_gradient_loss": "gpg", "sequence_policy_loss": "gspo", "weight_clipped_loss": "cispo"}
MEANS: dict[Aggregation, str] = {token_mean: "token-mean", sequence_mean: "seq-mean-token-mean", fixed_length: "seq-mean-token-sum-norm"}
NO_CLIP = 1e6  # verl bounds the loss of a negative advantage, at a ratio of 3 by default; our loss, and PPO's, is not bounded there


def estimator_of(algorithm: str) -> str:
    """verl's name for the advantages: its own GAE, and for the others ours (estimators.py), which leave failed rollouts out."""
    return "gae" if ALGORITHMS[algorithm].needs_critic else f"zerosearch_{algorithm}"


def refuse_what_verl_lacks(recipe: Recipe) -> None:
    """Raises BadConfig for the first setting that would not mean the same there."""
    rl, cluster = recipe.rl, recipe.cluster
    part, megatron = rl.questions_per_step // rl.minibatches * rl.group_size, cluster.strategy == "megatron"
    for wrong, line in (
        (recipe.curriculum.schedule == "adaptive", "curriculum.schedule = 'adaptive' follows rewards that verl's workers do not see"),
        (":" in rl.algorithm, f"rl.algorithm = '{rl.algorithm}' is your own, which the embedded trainer runs"),
        (recipe.rollout.renderer != "template", "rollout.renderer is the embedded trainer's; leave it out"),
        (rl.optimizer != "adamw", f"rl.optimizer = '{rl.optimizer}' is not one of verl's; choose adamw"),
        (rl.schedule == "linear", "rl.schedule = 'linear' is not one of verl's; choose constant or cosine"),
        (not rl.mask_observations, "rl.mask_observations = false is for the embedded trainer's study of masking only"),
        (recipe.guards != GuardsConfig(), "[guards] watch the embedded trainer only; leave them as they are"),
        (rl.questions_per_step % rl.minibatches, f"rl.minibatches = {rl.minibatches} must divide rl.questions_per_step"),
        (cluster.gpus % cluster.tensor_parallel, f"cluster.tensor_parallel = {cluster.tensor_parallel} must divide {cluster.gpus} GPUs"),
        (not megatron and part % cluster.gpus, f"the {part} rollouts of a minibatch cannot be shared out evenly among {cluster.gpus} GPUs"),
        (recipe.policy.dtype == "float32" and megatron, "policy.dtype = 'float32': Megatron trains in bfloat16"),
    ):
        if wrong:
            raise BadConfig(f"engine=verl: {line}.")


def verl_settings(recipe: Recipe, run: Path) -> Settings:
    """What `recipe` comes to for a run in the directory `run`; a key with + is new to verl's defaults. Raises BadConfig."""
    refuse_what_verl_lacks(recipe)
    keep, cluster, evaluates = recipe.run, recipe.cluster, bool(recipe.evaluation_engine and recipe.questions.held_out)
    held_out = "held_out" if evaluates else "train"  # verl wants a file
    settings = {
        **({"model_engine": "megatron"} if cluster.strategy == "megatron" else {}),
        **_under("data", train_files=str(run / "verl/train.parquet"), val_files=str(run / f"verl/{held_out}.parquet")),
        **_under("data", train_batch_size=recipe.rl.questions_per_step, seed=keep.seed, dataloader_num_workers=0),
        **dict.fromkeys(("data.max_prompt_length", "data.max_response_length"), recipe.rollout.max_tokens),
        **_learning(recipe),
        **_rollout(recipe, run),
        **_under("trainer", nnodes=cluster.nodes, n_gpus_per_node=cluster.gpus_per_node),
        **_under("trainer", total_training_steps=recipe.rl.steps, total_epochs=recipe.rl.steps),  # the former is what ends it
        **_under("trainer", save_freq=keep.checkpoint_every, default_local_dir=str(run / "checkpoints")),
        **_under("trainer", max_actor_ckpt_to_keep=keep.keep_checkpoints, max_critic_ckpt_to_keep=keep.keep_checkpoints),
        **_under("trainer", val_before_train=evaluates, test_freq=(keep.evaluate_every or recipe.rl.steps) if evaluates else -1),
        **_under("trainer", project_name="zerosearch", experiment_name=run.name, logger=["console", *keep.tracker_names]),
        **_under("trainer.v1.sampler.custom_sampler", path="pkg://zerosearch.integrations.verl.sampler", name="RunSampler"),
        "+trainer.v1.sampler.sampler_kwargs.run": str(run),
    }
    own = {key.lstrip("+"): key for key in settings}
    return settings | {own.get(key, f"++{key}"): value for key, value in _flat(cluster.verl)}


def _learning(recipe: Recipe) -> Settings:
    """Model, loss, KL, optimiser. verl's critic is a model of its own, started from the policy; ours is a head on the policy's trunk."""
    rl, rollout, algorithm, megatron = recipe.rl, recipe.rollout, ALGORITHMS[recipe.rl.algorithm], recipe.cluster.strategy == "megatron"
    actor, clip, pack = "actor_rollout_ref.actor", rl.clip or algorithm.clip, max(rl.microbatch_tokens, rollout.max_tokens)
    model = {"path": recipe.policy.model, "enable_gradient_checkpointing": rl.gradient_checkpointing}
    strategy = {} if megatron else {"strategy": recipe.cluster.strategy}
    settings = {
        **_under("actor_rollout_ref.model", **model),
        **_under(actor, **strategy, use_dynamic_bsz=True, ppo_max_token_len_per_gpu=pack),
        **_under(actor, ppo_mini_batch_size=rl.questions_per_step // rl.minibatches, ppo_epochs=rl.epochs),
        **_under(actor, loss_agg_mode=MEANS[algorithm.aggregation], clip_ratio=clip, clip_ratio_low=clip, clip_ratio_c=NO_CLIP),
        **_under(f"{actor}.policy_loss", loss_mode=LOSSES[str(algorithm.loss)]),
        **_under(actor, clip_ratio_high=rl.clip_high or algorithm.clip_high or clip),
        **_optimizer(recipe, actor, rl.learning_rate),
        **_precision(recipe, f"{actor}.{'megatron' if megatron else 'fsdp_config'}"),
        **_precision(recipe, f"actor_rollout_ref.ref.{'megatron' if megatron else 'fsdp_config'}"),
        **_under("algorithm", adv_estimator=estimator_of(rl.algorithm), gamma=rl.discount, lam=rl.gae_lambda),
    }
    if algorithm.aggregation is fixed_length:
        settings[f"{actor}.loss_scale_factor"] = min(rollout.max_tokens, rollout.max_turns * rollout.max_turn_tokens)
    if rl.kl_coefficient and rl.kl_in == "loss":
        settings |= _under(actor, use_kl_loss=True, kl_loss_coef=rl.kl_coefficient, kl_loss_type=rl.kl_estimator)
    elif rl.kl_coefficient:
        settings |= _under("algorithm", use_kl_in_reward=True, kl_penalty=rl.kl_estimator) | {
            "algorithm.kl_ctrl.kl_coef": rl.kl_coefficient
        }
    if rl.importance_cap:
        settings |= _under("algorithm.rollout_correction", rollout_is="token", rollout_is_threshold=rl.importance_cap)
    if recipe.policy.lora_rank:
        settings |= _under("actor_rollout_ref.model", lora_rank=recipe.policy.lora_rank, lora_alpha=int(recipe.policy.lora_alpha))
    if algorithm.needs_critic:
        settings |= _under("critic", **strategy, enable=True, ppo_max_token_len_per_gpu=pack, cliprange_value=rl.value_clip or NO_CLIP)
        settings |= _under("critic.model", **model) | _precision(recipe, f"critic.{'megatron' if megatron else 'fsdp'}")
        settings |= _optimizer(recipe, "critic", rl.critic_learning_rate or 10 * rl.learning_rate)
        # ours counts steps from 0, verl from 1, and in the step it is told its policy learns
        settings["trainer.critic_warmup"] = rl.critic_warmup_steps + 1 if rl.critic_warmup_steps else 0
    return settings


def _rollout(recipe: Recipe, run: Path) -> Settings:
    rollout, cluster, place = recipe.rollout, recipe.cluster, "actor_rollout_ref.rollout"
    return {
        **_under(place, name=cluster.server, n=recipe.rl.group_size, temperature=rollout.temperature, top_p=rollout.top_p),
        **_under(place, max_model_len=rollout.max_tokens + 1, skip_tokenizer_init=False),  # a turn ends at a closing tag, which is text
        **_under(place, tensor_model_parallel_size=cluster.tensor_parallel, gpu_memory_utilization=cluster.gpu_memory_utilization),
        **({f"{place}.dtype": "float32"} if recipe.policy.dtype == "float32" else {}),
        **({f"{place}.load_format": "safetensors"} if recipe.policy.lora_rank else {}),  # the server loads what does not learn by itself
        **_under(f"{place}.agent", num_workers=cluster.agent_workers, default_agent_loop="zerosearch"),
        f"{place}.agent.agent_loop_config_path": str(run / "verl/agent_loop.yaml"),
    }


def _optimizer(recipe: Recipe, model: str, rate: float) -> Settings:
    rl, schedule = recipe.rl, "lr_decay_style" if recipe.cluster.strategy == "megatron" else "lr_scheduler_type"
    warmup = rl.warmup_steps if rl.warmup_steps > 1 else 0  # one step is none: it is at the full rate
    common = {"lr": rate, "weight_decay": 0.0, "betas": [0.9, 0.95], "clip_grad": rl.max_grad_norm, "lr_warmup_steps": warmup}
    return _under(f"{model}.optim", **common, **{schedule: rl.schedule})


def _precision(recipe: Recipe, engine: str) -> Settings:
    """Masters are float32 either way. What is offloaded waits in the host's memory; a reference has no optimiser to offload."""
    settings = {f"+{engine}.mixed_precision.param_dtype": "fp32"} if recipe.policy.dtype == "float32" else {}
    offload = _under(engine, param_offload=True, **({} if ".ref." in engine else {"optimizer_offload": True}))
    return settings | (offload if recipe.cluster.offload else {})


def _under(place: str, **values: Any) -> Settings:
    return {f"{place}.{key}": value for key, value in values.items()}


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """Settings as Hydra reads them on a command line: KEY=VALUE, lists in brackets, quotes where a word means something else."""
    return [f"{key}={_value(value)}" for key, value in settings.items()]


def command_line(module: str, settings: Mapping[str, Any]) -> str:
    """The line for a shell, or a scheduler's script."""
    return shlex.join(["python", "-m", module, *overrides(settings)])


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1)"""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_value(item) for item in cast(list[object], value)) + "]"
    if not isinstance(value, str) or re.fullmatch(r"[\w./:@+-]+", value):
        return "null" if value is None else str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# ---- where a recipe's files lie, for processes in other folders and on other hosts

_ENGINE = ("model", "template", "corpus", "index_dir", "encoder", "record", "replay")
_PATHS = {
    "policy": ("model",),
    "questions": ("train", "held_out"),
    "rollout": ("prompt",),
    "engine": _ENGINE,
    "evaluation_engine": _ENGINE,
    "run": ("out",),
}


def placed(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths. A name that is not a path (a hub id, a built-in prompt) stays what it is."""
    table = recipe.model_dump()
    for section, keys in _PATHS.items():
        for key in keys if table[section] else ():
            value, made_later = table[section][key], key in ("record", "out")
            if value and (made_later or (Path(value).exists() and ("/" in value or "." in value))):
                table[section][key] = str(Path(value).resolve())
    return Recipe.model_validate(table)
