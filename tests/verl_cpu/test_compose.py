"""verl's own configuration takes what each recipe comes to: every key exists, every value passes its checks. No Ray. `make test-verl`."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from zerosearch.config.recipe import load_recipe
from zerosearch.integrations.verl.settings import overrides, verl_settings

pytestmark = [
    pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed; `make test-verl` brings it"),
    pytest.mark.filterwarnings("ignore"),
]
RECIPES = sorted((Path(__file__).resolve().parents[2] / "src" / "zerosearch" / "recipes" / "cluster").glob("*.toml"))
VARIANTS = [[], ["cluster.strategy=megatron"], ["rl.algorithm=ppo", "cluster.offload=true"], ["rl.algorithm=dr_grpo", "rl.kl_in=reward"]]


def compose(recipe: Path, *words: str) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        settings = verl_settings(load_recipe(recipe, ["engine=verl", *words]), Path("/runs/here"))
        return hydra_compose("ppo_trainer", overrides=overrides(settings))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_each_recipe(recipe: Path) -> None:
    config, ours = compose(recipe), load_recipe(recipe)
    assert config.actor_rollout_ref.model.path == ours.policy.model
    assert config.algorithm.adv_estimator in (f"zerosearch_{ours.rl.algorithm}", "gae")
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node == ours.cluster.gpus
    assert config.trainer.v1.sampler.sampler_kwargs.run == "/runs/here"


@pytest.mark.parametrize("words", VARIANTS, ids=" ".join)
def test_variants_pass_verl_s_own_checks(words: list[str]) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    config = compose(RECIPES[0], *words)
    for section in (config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.algorithm):
        omega_conf_to_dataclass(section)
    assert config.actor_rollout_ref.actor.optim.betas == [0.9, 0.95]


def test_quoting_survives_hydra() -> None:
    config = compose(RECIPES[0], 'policy.model="/models/it\'s, (mine) = 1"', "run.seed=3")
    assert config.actor_rollout_ref.model.path == "/models/it's, (mine) = 1" and config.data.seed == 3
