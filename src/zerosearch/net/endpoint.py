"""An HTTP endpoint that speaks OpenAI's protocol: `http.JsonClient` with a key in the header and a model that may be left unnamed."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zerosearch.core.coalesce import Coalesced
from zerosearch.core.errors import GenerationFailed
from zerosearch.net.http import Advice, Call, JsonClient, RetryableError, key_from

_NOT_THERE = "check base_url (it usually ends in /v1) and model."
_ADVICE = Advice(
    url="check base_url: is it an OpenAI-compatible endpoint?",
    request="check model, the prompt's length and the sampling.",
    by_status=dict.fromkeys((404, 405, *range(300, 400)), _NOT_THERE),
    url_name="base_url",
    url_example="http://localhost:8000/v1",
)
T = TypeVar("T")


class Endpoint:
    """Calls `{base_url}/…`.

    An empty `model` stands for the first one that the server lists. The key is read from the environment variable `api_key_env`, sent
    in the header and never shown. Retries are those of `http.JsonClient`, which takes the other arguments.

    Raises BadConfig if an argument is invalid.
    """

    def __init__(self, base_url: str, model: str = "", *, api_key_env: str = "OPENAI_API_KEY", **limits: Any) -> None:
        key = key_from(api_key_env)
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = JsonClient(base_url, GenerationFailed, _ADVICE, key=key, key_env=api_key_env, **limits)
        self._first_model: Coalesced[str, str] = Coalesced(self._ask_for_a_model)

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._client.aclose()

    async def model_name(self) -> str:
        """The model that was named, otherwise the first one that the server lists. Raises GenerationFailed."""
        return self._model or await self._first_model("models")

    async def answers(self) -> bool:
        """Whether the server lists its models, asked once without retries: a health check."""
        try:
            await self._client.ask(Call("GET", "models", headers=self._headers), _first_model_of, max_attempts=1)
        except GenerationFailed:
            return False
        return True

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], T]) -> T:
        """What `read` finds in the JSON reply; it raises RetryableError, or `unexpected`, if it finds nothing.

        Raises GenerationFailed with one line: the URL, what happened, what to do.
        """
        return await self._client.ask(Call(method, path, body=body, headers=self._headers), read)

    def unexpected(self, reply: Any) -> RetryableError:
        return self._client.unexpected(reply)

    async def _ask_for_a_model(self, path: str) -> str:
        return await self.call("GET", path, None, _first_model_of)


def _first_model_of(reply: Any) -> str:
    match reply:
        case {"data": [{"id": str(name)}, *_]} if name:
            return name
        case _:
            raise RetryableError("the server lists no model", "name one with model=….", retry=False)
