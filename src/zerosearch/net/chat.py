"""A Chat over HTTP: any endpoint that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, Ollama, OpenAI, …)."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Self

from zerosearch.core.errors import GenerationFailed, ZeroSearchError, one_of
from zerosearch.core.types import Sampling
from zerosearch.net.endpoint import Endpoint
from zerosearch.net.http import RetryableError

PATHS = {"chat": "chat/completions", "completions": "completions"}


class OpenAIChat:
    """A Chat that posts to `{base_url}/chat/completions` (with `style="completions"` whole prompts to `/completions`).

    The other arguments are `Endpoint`'s. Raises BadConfig if an argument is invalid.
    """

    def __init__(self, base_url: str, model: str = "", *, style: str = "chat", **limits: Any) -> None:
        self._style = one_of("style", style, PATHS)
        self._endpoint = Endpoint(base_url, model, **limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._endpoint.aclose()

    async def answers(self) -> bool:
        """Whether the server lists its models, asked once without retries: a health check."""
        return await self._endpoint.answers()

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """The model's reply, possibly empty. Raises GenerationFailed with one line: the URL, what happened, what to do."""
        body = {
            "model": await self._endpoint.model_name(),
            **({"messages": [{"role": "user", "content": prompt}]} if self._style == "chat" else {"prompt": prompt}),
            **sampling_body(sampling),
        }
        return await self._endpoint.call("POST", PATHS[self._style], body, lambda reply: text_of(reply, self._endpoint))


class FunctionChat:
    """A Chat around a function from prompt to reply, plain or async."""

    def __init__(self, write: Callable[[str], str | Awaitable[str]]) -> None:
        self._write = write

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        """What the function writes. Raises GenerationFailed for whatever it raised, and for a reply that is not a text."""
        try:
            reply = self._write(prompt)
            reply = await reply if isawaitable(reply) else reply
        except ZeroSearchError:
            raise
        except Exception as error:
            raise GenerationFailed(f"the function that writes replies raised {type(error).__name__}: {error}") from error
        if not isinstance(reply, str):
            raise GenerationFailed(f"the function that writes replies returned {reply!r:.80}; it must return a text.")
        return reply


def sampling_body(sampling: Sampling) -> dict[str, Any]:
    """Our sampling in the words of OpenAI's protocol."""
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        **({"stop": list(sampling.stop)} if sampling.stop else {}),
    }


def text_of(reply: Any, endpoint: Endpoint) -> str:
    """The text of the first choice of a chat completion or a completion."""
    match reply:
        case {"choices": [{"message": {"content": str(text)}}, *_]} | {"choices": [{"text": str(text)}, *_]}:
            return text
        case {"choices": [{"finish_reason": reason}, *_]}:
            advice = "raise max_new_tokens, or switch the model's thinking off."
            raise RetryableError(f"the reply holds no text (finish_reason {reason})", advice, retry=False)
        case _:
            raise endpoint.unexpected(reply)
