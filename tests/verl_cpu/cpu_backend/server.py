"""Our sampler as verl's rollout server: an actor of Ray's with a copy of the policy, which the trainer's ranks send their weights to."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from typing import Any

import ray
import torch
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from zerosearch.core.types import Sampling
from zerosearch.models.local import LocalModel


def _name(rank: int) -> str:
    return f"local_server_{rank}"


class CPUServer:
    def __init__(self, path: str, rank: int) -> None:
        torch.set_num_threads(1)
        self.policy, self.rank, self.step, self.calls = LocalModel.load(path, "cpu"), rank, -1, count(rank * 1_000_003)

    async def generate(self, prompt_ids: list[int], sampling_params: dict[str, Any], request_id: str, **_: Any) -> TokenOutput:
        assert self.step >= 0, "the weights never came"
        wanted = sampling_params
        sampling = Sampling(wanted["max_tokens"], wanted["temperature"], wanted["top_p"], tuple(wanted["stop"]), next(self.calls))
        generation = await self.policy.generate(prompt_ids, sampling, request_id)
        self.policy.close(request_id)  # verl names each turn anew
        return TokenOutput(
            token_ids=list(generation.token_ids),
            log_probs=list(generation.logprobs),
            stop_reason="completed",
            extra_fields={"global_steps": self.step},
        )

    async def load(self, state: dict[str, torch.Tensor], step: int | None) -> None:
        missing, unexpected = self.policy.model.load_state_dict(state, strict=False)
        tied = {"lm_head.weight"} if self.policy.model.config.tie_word_embeddings else set()
        assert not unexpected and set(missing) <= tied, (missing, unexpected)
        self.policy.sampler.forget()
        self.step = step or 0

    async def address(self) -> str:
        return _name(self.rank)

    async def _nothing(self, *_: Any, **__: Any) -> None: ...

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = resume_generation = start_profile = stop_profile = _nothing

    async def abort_all_requests(self, reject_request: bool = False) -> dict[str, Any]:
        return {}


class CPUReplica(RolloutReplica):
    async def launch_servers(self) -> None:
        path = getattr(self.model_config, "local_path", None) or self.model_config.path
        actor: Any = ray.remote(num_cpus=0)(CPUServer)
        server = actor.options(name=_name(self.replica_rank), max_concurrency=512).remote(path, self.replica_rank)
        self.servers, self._server_handle = [server], server
        self._server_address = await server.address.remote()


class WeightSender(BaseRollout):
    """In each rank of the trainer: gathers the whole weights (every rank must take part) and sends them to its server."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1) -> None:
        super().__init__(config, model_config, device_mesh)
        ranks = self.config.tensor_model_parallel_size
        self.replica_rank = int(os.environ["RANK"]) // ranks if replica_rank == -1 else replica_rank
        self.is_leader_rank = int(os.environ["RANK"]) % ranks == 0

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None, **_: Any) -> None:
        state = {name: tensor.detach().cpu().clone() for name, tensor in weights}
        if self.is_leader_rank:
            await ray.get_actor(_name(self.replica_rank)).load.remote(state, global_steps)
