"""How a test, or a script, runs `zerosearch train … engine=verl` on a CPU: with the back end in tests/verl_cpu/cpu_backend."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve()
_VERL = """
trainer.device="cpu"
trainer.logger=["console","file"]
ray_kwargs.ray_init.num_cpus=64
ray_kwargs.ray_init.include_dashboard=false
ray_kwargs.ray_init.object_store_memory=400000000
actor_rollout_ref.rollout.name="local"
actor_rollout_ref.model.use_remove_padding=false
actor_rollout_ref.model.override_config.attn_implementation="sdpa"
actor_rollout_ref.actor.use_torch_compile=false
actor_rollout_ref.actor.fsdp_config.use_torch_compile=false
actor_rollout_ref.ref.fsdp_config.use_torch_compile=false
critic.model.use_remove_padding=false
critic.fsdp.use_torch_compile=false
reward.num_workers=1
transfer_queue.backend.SimpleStorage.num_data_storage_units=1
""".split()


def overrides(ranks: int = 2) -> list[str]:
    own = [f"cluster.verl.{line}" for line in (*_VERL, f"ray_kwargs.ray_init.num_gpus={ranks}")]
    return ["engine=verl", f"cluster.gpus_per_node={ranks}", "cluster.agent_workers=1", *own]


def environment(figures: Path) -> dict[str, str]:
    """For a process that runs `zerosearch train`; Ray hands it on to those it starts. verl writes its own figures to the file `figures`."""
    folders = [str(_HERE.parent / "verl_cpu"), str(_HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(filter(None, folders)),
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "cpu_backend",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "GLOO_SOCKET_IFNAME": "lo",
        "VERL_FILE_LOGGER_PATH": str(figures),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
