"""verl on a CPU, for tests: a platform, FSDP engines over gloo, and our sampler as the rollout server, all through verl's registries.

VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=cpu_backend: verl then imports this in every process of its own. What the recipe must say
besides is in tests/verl_on_cpu.py.
"""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
import functools

import verl.utils.distributed as distributed
from verl.plugin.platform import PlatformRegistry
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplicaRegistry

from cpu_backend.platform import CPUPlatform

PlatformRegistry.register(platform="cpu")(CPUPlatform)

# verl asks for "cpu:gloo,cpu:gloo" here, one for the host and one for the device, and torch takes a device once
distributed.initialize_global_process_group_ray = functools.partial(distributed.initialize_global_process_group_ray, backend="cpu:gloo")


def _replica() -> type:
    from cpu_backend.server import CPUReplica

    return CPUReplica


RolloutReplicaRegistry.register("local", _replica)
base._ROLLOUT_REGISTRY[("local", "async")] = "cpu_backend.server.WeightSender"

import cpu_backend.engine  # noqa: E402, F401  (registers the engines; imports what is above)
