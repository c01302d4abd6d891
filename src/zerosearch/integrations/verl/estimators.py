"""Our advantages as verl's estimators, a name each: the very functions of `rl/advantages.py`, so that both trainers agree.

verl's own GRPO divides by std + 1e-6 (ours: + 1e-4) and counts a failed rollout as one worth 0. Its GAE skips what is masked, and is
used as it is.
"""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
from collections.abc import Callable, Iterable
from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_adv_est

from zerosearch.integrations.verl.settings import estimator_of
from zerosearch.rl.algorithms import ALGORITHMS


def estimator(name: str) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Advantages of an entry of ALGORITHMS: token_level_rewards_BT, response_mask_BT, uids_B → advantages_BT, and the same as returns.

    A row without a trained token is a failed rollout, or verl's padding: it is compared with nothing and gets 0.
    """

    def estimate(token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Iterable[Any], **_: Any) -> Any:
        rewards_B, sound_B = token_level_rewards.sum(-1).tolist(), response_mask.bool().any(-1).tolist()
        groups: dict[Any, list[int]] = {}
        for row, uid in enumerate(index):
            groups.setdefault(uid, []).append(row)
        found = ALGORITHMS[name].advantages([[rewards_B[i] if sound_B[i] else None for i in rows] for rows in groups.values()])
        advantages_B = token_level_rewards.new_zeros(len(rewards_B))
        for rows, advantages in zip(groups.values(), found, strict=True):
            advantages_B[rows] = advantages_B.new_tensor([a or 0.0 for a in advantages])
        advantages_BT = advantages_B[:, None] * response_mask
        return advantages_BT, advantages_BT

    return estimate


for _name, _algorithm in ALGORITHMS.items():
    if not _algorithm.needs_critic:
        register_adv_est(estimator_of(_name))(estimator(_name))
