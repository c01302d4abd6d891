"""A Policy that counts what passes through it: calls and tokens, whatever an agent does with them."""

from __future__ import annotations

from collections.abc import Sequence

from zerosearch.core.interfaces import Policy
from zerosearch.core.types import Generation, Sampling, Usage


class MeteredPolicy:
    """Around another policy, for one question. An endpoint's own count goes before the number of our ids."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.usage = Usage()
        self.encode_prompt, self.encode, self.decode, self.close = policy.encode_prompt, policy.encode, policy.decode, policy.close

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        generation = await self._policy.generate(token_ids, sampling, session)
        self.usage += generation.usage or Usage(1, len(token_ids), len(generation.token_ids))
        return generation
