"""The GPUs that are there: of each node of Ray's cluster, or of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from zerosearch.config.recipe import ClusterConfig
from zerosearch.core.errors import BadConfig


def require_gpus(cluster: ClusterConfig, found: Sequence[float]) -> None:
    """`found` are the GPUs of each node that is there. Raises BadConfig when the recipe asks for more."""
    if sum(gpus >= cluster.gpus_per_node for gpus in found) < cluster.nodes:
        there = " and ".join(f"{gpus:g}" for gpus in found) or "none"
        raise BadConfig(
            f"the recipe asks for {cluster.nodes} × {cluster.gpus_per_node} GPUs (cluster.nodes, cluster.gpus_per_node), found {there}; "
            "ask for fewer, or start Ray on each node first: ray start --head, ray start --address=HEAD:6379."
        )


def gpus_of_nodes() -> list[float]:
    """Of the Ray cluster that is running, or of this machine where none is."""
    import ray  # pyright: ignore[reportMissingImports]
    import torch

    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        return [torch.cuda.device_count()]
    try:
        return [node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()
