"""A Chat over HTTP: any endpoint that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, Ollama, OpenAI, …)."""

from __future__ import annotations

from typing import Any

from zerosearch.errors import GenerationFailed, one_of
from zerosearch.http import Advice, Call, JsonClient, Trouble, key_from
from zerosearch.search.coalesce import Coalesced
from zerosearch.types import Sampling

_PATHS = {"chat": "chat/completions", "completions": "completions"}
_NOT_THERE = "check base_url (it usually ends in /v1) and model."
_ADVICE = Advice(
    url="check base_url: is it an OpenAI-compatible endpoint?",
    request="check model, the prompt's length and the sampling.",
    by_status=dict.fromkeys((404, 405, *range(300, 400)), _NOT_THERE),
    url_name="base_url",
    url_example="http://localhost:8000/v1",
)


class OpenAIChat:
    """A Chat that posts to `{base_url}/chat/completions` (or `/completions`, given whole prompts: `style="completions"`).

    An empty `model` is the first one the server lists. The key is read from the environment variable `api_key_env`, sent
    in the header and never shown. What is tried again, and how often: `http.JsonClient`.

    Raises BadConfig when an argument cannot be right.
    """

    def __init__(
        self,
        base_url: str,
        model: str = "",
        *,
        api_key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 60,
        max_attempts: int = 4,
        max_concurrency: int = 64,
        style: str = "chat",
        first_wait_s: float = 0.5,
        max_wait_s: float = 30,
        seed: int = 0,
    ) -> None:
        key = key_from(api_key_env)
        self._model = model
        self._style = one_of("style", style, _PATHS)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = JsonClient(
            base_url,
            GenerationFailed,
            _ADVICE,
            key=key,
            key_env=api_key_env,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_concurrency=max_concurrency,
            first_wait_s=first_wait_s,
            max_wait_s=max_wait_s,
            seed=seed,
        )
        self._first_model: Coalesced[str, str] = Coalesced(self._ask_for_a_model)

    async def __aenter__(self) -> OpenAIChat:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._client.aclose()

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """The model's reply, possibly empty. Raises GenerationFailed with one line: the URL, what happened, what to do."""
        body = {
            "model": self._model or await self._first_model("models"),
            **({"messages": [{"role": "user", "content": prompt}]} if self._style == "chat" else {"prompt": prompt}),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
        }
        return await self._client.ask(Call("POST", _PATHS[self._style], body=body, headers=self._headers), self._text_of)

    async def _ask_for_a_model(self, path: str) -> str:
        return await self._client.ask(Call("GET", path, headers=self._headers), _first_model_of)

    def _text_of(self, reply: Any) -> str:
        """The text of the first choice of a chat completion or a completion."""
        match reply:
            case {"choices": [{"message": {"content": str(text)}}, *_]} | {"choices": [{"text": str(text)}, *_]}:
                return text
            case {"choices": [{"finish_reason": reason}, *_]}:
                advice = "raise max_new_tokens, or switch the model's thinking off."
                raise Trouble(f"the reply holds no text (finish_reason {reason})", advice, retry=False)
            case _:
                raise self._client.unexpected(reply)


def _first_model_of(reply: Any) -> str:
    match reply:
        case {"data": [{"id": str(name)}, *_]} if name:
            return name
        case _:
            raise Trouble("the server lists no model", "name one: model=….", retry=False)
