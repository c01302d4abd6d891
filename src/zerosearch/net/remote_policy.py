"""A Policy behind an OpenAI-compatible endpoint, as chat or as raw completions: text out, text in.

A rollout works on token ids; such an endpoint does not. So this policy has a vocabulary of its own: pieces of text, about one
to a token of English, each with an id that is a hash of it. Encoding and decoding lose nothing, nothing the server wrote is changed, and
budgets (`max_tokens`, `max_observation_tokens`) are counted in pieces. What the server counted itself is in `Generation.usage`. There
are no log-probs, so nothing that comes from here can be trained on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from zerosearch.core.errors import one_of
from zerosearch.core.types import Finish, Generation, Sampling, Usage
from zerosearch.net.chat import PATHS, sampling_body, text_of
from zerosearch.net.endpoint import Endpoint

_PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")
_ID_BITS = 53  # whole numbers that JSON readers keep exact
_SEED_BITS = 31  # the largest seed that every endpoint takes


class Pieces:
    """A renderer with a vocabulary of its own: text ↔ ids, the same in every process, `decode(observation(text)) == text`."""

    def __init__(self) -> None:
        self._id_of: dict[str, int] = {}
        self._text_of: dict[int, str] = {}

    def prompt(self, text: str) -> list[int]:
        return self.observation(text)

    def observation(self, text: str) -> list[int]:
        known = self._id_of
        return [known[piece] if piece in known else self._new(piece) for piece in _PIECE.findall(text)]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(self._text_of[i] for i in token_ids)

    def _new(self, piece: str) -> int:
        made = int.from_bytes(blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> (64 - _ID_BITS)
        while self._text_of.get(made, piece) != piece:  # two pieces with one hash, about once in a hundred thousand runs
            made = (made + 1) % 2**_ID_BITS
        self._id_of[piece], self._text_of[made] = made, piece
        return made


@dataclass(slots=True)
class _Conversation:
    """The text of a session so far; ids up to the first end are the user's, up to the next the assistant's, and so on in turns."""

    ids: tuple[int, ...]
    ends: list[int]


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    finish: Finish
    usage: Usage | None


class RemotePolicy:
    """`style="chat"`: the prompt is the user's message, each turn of the policy the assistant's, each observation the user's next.
    `style="completions"`: the whole text so far is the prompt, and the model continues it.

    The other arguments are `Endpoint`'s. Raises BadConfig if an argument is invalid.
    """

    def __init__(self, base_url: str, model: str = "", *, style: str = "chat", **limits: Any) -> None:
        self._style = one_of("policy style", style, PATHS)
        self._endpoint = Endpoint(base_url, model, **limits)
        self.renderer = Pieces()
        self._conversations: dict[str, _Conversation] = {}

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        """Continue `token_ids`. A closing tag that the server cut off as a stop string is put back.

        Raises GenerationFailed after bounded retries.
        """
        ids = tuple(token_ids)
        ends = self._ends(ids, session)
        said = self._messages(ids, ends) if self._style == "chat" else {"prompt": self.renderer.decode(ids)}
        body = {"model": await self._endpoint.model_name(), **said, **sampling_body(sampling), "seed": sampling.seed % 2**_SEED_BITS}
        reply = await self._endpoint.call("POST", PATHS[self._style], body, lambda raw: _read(raw, sampling.stop, self._endpoint))
        written = tuple(self.renderer.observation(reply.text))
        self._conversations[session] = _Conversation(ids + written, [*ends, len(ids) + len(written)])
        return Generation(written, (), reply.finish, reply.usage)

    async def model_name(self) -> str:
        """The model that answers. Raises GenerationFailed if the server has to be asked for it and does not say."""
        return await self._endpoint.model_name()

    def close(self, session: str) -> None:
        self._conversations.pop(session, None)

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._endpoint.aclose()

    def _ends(self, ids: tuple[int, ...], session: str) -> list[int]:
        """Where each message ends. Text that does not continue the session's last turn is one message of the user's."""
        before = self._conversations.get(session)
        if before is None or len(ids) <= len(before.ids) or ids[: len(before.ids)] != before.ids:
            return [len(ids)]
        return [*before.ends, len(ids)]

    def _messages(self, ids: tuple[int, ...], ends: list[int]) -> dict[str, Any]:
        starts = [0, *ends[:-1]]
        return {
            "messages": [
                {"role": ("user", "assistant")[i % 2], "content": self.renderer.decode(ids[start:end])}
                for i, (start, end) in enumerate(zip(starts, ends, strict=True))
            ]
        }


def _read(raw: Any, stop: Sequence[str], endpoint: Endpoint) -> _Reply:
    """Text, reason and counts of the first choice. Raises RetryableError if there is no text."""
    text = text_of(raw, endpoint)
    choice = cast(Mapping[str, Any], raw["choices"][0])
    text, finish = close_tag(text, str(choice.get("finish_reason")), choice.get("stop_reason") or choice.get("matched_stop"), stop)
    match raw.get("usage"):
        case {"prompt_tokens": int(prompt), "completion_tokens": int(new)}:
            return _Reply(text, finish, Usage(1, prompt, new))
        case _:
            return _Reply(text, finish, None)


def close_tag(text: str, reason: str, matched: object, stop: Sequence[str]) -> tuple[str, Finish]:
    """The text up to and with the stop string that ended it.

    Servers cut the stop string off, and most do not say which it was: then it is taken to be the closing tag of the last tag that is
    still open. The text of a server that ignores stop strings is cut where it should have stopped.
    """
    cuts = [(text.find(s), s) for s in stop if s and s in text]
    if cuts:
        at, found = min(cuts)
        return text[: at + len(found)], Finish.STOP
    if reason == "length":
        return text, Finish.LENGTH
    if isinstance(matched, str) and matched in stop:
        return text + matched, Finish.STOP
    opened = [(text.rfind(s.replace("</", "<")), s) for s in stop if s.startswith("</")]
    at, closing = max(opened, default=(-1, ""))
    return (text + closing, Finish.STOP) if at >= 0 and reason == "stop" else (text, Finish.EOS)
