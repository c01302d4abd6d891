"""A Policy behind vLLM or SGLang by token ids: nothing sampled is ever decoded and encoded again, and each token comes with its log-prob.

The tokenizer runs here and must be the server's own. Both servers keep the KV cache of a shared prefix themselves, so that sending the
whole prompt again costs them little. vLLM's log-probs are those at T = 1 unless it was started with `--logprobs-mode processed_logprobs`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zerosearch.core.errors import one_of
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.types import Finish, Generation, Sampling, Usage
from zerosearch.net.chat import sampling_body
from zerosearch.net.endpoint import Endpoint
from zerosearch.net.http import RetryableError

_SEED_BITS = 31  # the largest seed that every server takes


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Where to post, what, and how to read the reply (with the stop strings that were asked for)."""

    path: str
    body: Callable[[str, list[int], Sampling], dict[str, Any]]
    read: Callable[[Any, Sequence[str]], Generation]


def _vllm_body(model: str, ids: list[int], sampling: Sampling) -> dict[str, Any]:
    extras = {"return_token_ids": True, "logprobs": 1, "include_stop_str_in_output": True, "skip_special_tokens": False}
    return {"model": model, "prompt": ids, **sampling_body(sampling), "seed": sampling.seed % 2**_SEED_BITS, **extras}


def _read_vllm(raw: Any, stop: Sequence[str]) -> Generation:
    match raw:
        case {"choices": [{"token_ids": [*ids], "logprobs": {"token_logprobs": [*logprobs]}, "finish_reason": reason} as choice, *_]}:
            return _generation(ids, logprobs, reason, choice.get("stop_reason"), stop, raw.get("usage"))
        case _:
            raise _no_ids("vLLM 0.10.2 or newer")


def _sglang_body(model: str, ids: list[int], sampling: Sampling) -> dict[str, Any]:
    wanted = {
        "max_new_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop),
        "sampling_seed": sampling.seed % 2**_SEED_BITS,
        "no_stop_trim": True,
        "skip_special_tokens": False,
    }
    return {"input_ids": ids, "sampling_params": wanted, "return_logprob": True}


def _read_sglang(raw: Any, stop: Sequence[str]) -> Generation:
    match raw:
        case {"meta_info": {"output_token_logprobs": [*pairs], "finish_reason": {"type": reason, **more}} as meta}:
            ids, logprobs = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
            return _generation(ids, logprobs, reason, more.get("matched"), stop, meta)
        case _:
            raise _no_ids("SGLang")


DIALECTS = {"vllm": _Dialect("completions", _vllm_body, _read_vllm), "sglang": _Dialect("/generate", _sglang_body, _read_sglang)}


def _generation(ids: list[Any], logprobs: list[Any], reason: object, matched: object, stop: Sequence[str], usage: Any) -> Generation:
    if len(ids) != len(logprobs):
        raise RetryableError(f"the reply has {len(ids)} tokens and {len(logprobs)} log-probs", "check the server's log.", retry=False)
    finish = Finish.LENGTH if reason == "length" else Finish.STOP if matched in stop else Finish.EOS
    counted = None
    match usage:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(new)}:
            counted = Usage(1, prompt, new)
        case _:
            pass
    return Generation(tuple(map(int, ids)), tuple(map(float, logprobs)), finish, counted)


def _no_ids(server: str) -> RetryableError:
    advice = f"is it {server}? --policy-style completions needs no token ids."
    return RetryableError("the reply holds no token ids", advice, retry=False)


class RemoteTokenPolicy:
    """`dialect` is "vllm" (its `/completions` with token ids) or "sglang" (its `/generate`, at the root of the server).

    The other arguments are `Endpoint`'s. Raises BadConfig if an argument is invalid.
    """

    def __init__(self, base_url: str, tokenizer: Any, model: str = "", *, dialect: str, **limits: Any) -> None:
        self.renderer = TemplateRenderer(tokenizer)
        self._dialect = DIALECTS[one_of("policy style", dialect, DIALECTS)]
        self._endpoint = Endpoint(base_url, model, **limits)

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Continue `token_ids`. Raises GenerationFailed after bounded retries."""
        dialect = self._dialect
        body = dialect.body(await self._endpoint.model_name(), list(token_ids), sampling)
        return await self._endpoint.call("POST", dialect.path, body, lambda raw: dialect.read(raw, sampling.stop))

    async def model_name(self) -> str:
        """The model that answers. Raises GenerationFailed if the server has to be asked for it and does not say."""
        return await self._endpoint.model_name()

    def close(self, session: str) -> None:
        """Does nothing: the server manages its own cache."""

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._endpoint.aclose()
