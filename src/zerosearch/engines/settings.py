"""The [engine] section of a recipe: every search engine's settings, and what each kind cannot do without."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zerosearch.core.settings import Name, Natural, Positive, Section

# user:password@ in an address, or …key=… among its parameters, unless it is a ${NAME}
_SECRET = re.compile(r"://[^/\s:@]*:(?!\$\{)[^/\s@]+@|[?&][\w-]*(?:key|token|secret)=(?!\$\{)[^&\s]", re.IGNORECASE)


# what each kind cannot do without: of each group one. A kind that is not here needs nothing.
ENGINE_NEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "simulated": (("model", "url"),),
    "bm25": (("corpus",),),
    "dense": (("corpus",), ("encoder",)),
    "hybrid": (("corpus",), ("encoder",)),
    "search-r1": (("url",),),
    "searxng": (("url",),),
    "mcp": (("command", "url"),),
    "replay": (("replay",),),
}
_SETTING_IS = {
    "model": "a folder or hub id",
    "url": "an address, for instance http://localhost:8000",
    "corpus": "a JSONL file with id, title and text",
    "encoder": "a folder or hub id of a Hugging Face encoder",
    "command": "what starts an MCP server",
    "replay": "a file of recorded searches",
}


class EngineConfig(Section):
    """A search engine. `kind` is a name in `search.registry.ENGINES`; which other settings count depends on it.

    simulated      `model` (folder or hub id, in process) or `url` (an OpenAI-compatible endpoint, or several with spaces between them: the
                   least loaded is asked, and all may be down for `outage_s`), how it samples, its `template`
                   ("web": with a worked example, for any model; "tuned": for a tuned one; or a file), what it stands in for (`persona`,
                   `domain`, `language`, `words_per_document`), and `guard_redraws`, `guarded` (search/simulated.py)
    bm25           `corpus` (JSONL or JSONL.gz with id, title, text); `index_dir` is where the index is, by default beside the corpus
    dense hybrid   also `encoder` (folder or hub id), how it is used (E5: query_prefix "query: ", passage_prefix "passage: "), and the
                   FAISS index: `index_kind`, and `index_effort`, the beam of hnsw or the lists ivfpq probes (0: the kind's own)
    search-r1 serper serpapi searxng tavily brave      `url` (a default where the service has one); keys come from the environment
    mcp            `command` or `url` of an MCP server, its `tool` (needed when it has several) and the names of its arguments
    replay         the one engine whose searches are in the file `replay`
    MODULE:NAME    an async function of yours, (query, k) -> documents

    `url` and `command` may name environment variables as ${NAME}, so that a recipe holds no secret. Around any of them: `record` keeps
    what is found in a file and asks nothing twice, `replay` asks only that file; `max_searches` and `max_usd` (at `usd_per_search`)
    stop before the search that would go over; 0 is no limit.
    """

    kind: Name = "simulated"
    k: Positive = 5
    model: str = ""
    url: str = ""
    template: str = "web"
    persona: Name = "a search engine"
    domain: Name = "the web"
    language: Name = "English"
    words_per_document: Positive = 30
    guard_redraws: Natural = 0
    guarded: Literal["both", "noisy"] = "both"
    temperature: Annotated[float, Field(ge=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Positive = 600
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    outage_s: Annotated[float, Field(ge=0)] = 300.0
    max_attempts: Positive = 4
    max_concurrency: Positive = 64
    share_coin_in_group: bool = False
    corpus: str = ""
    index_dir: str = ""
    encoder: str = ""
    encoder_max_tokens: Positive = 256
    pooling: Literal["mean", "cls", "last"] = "mean"
    normalised: bool = True
    query_prefix: str = ""
    passage_prefix: str = ""
    index_kind: Literal["flat", "hnsw", "ivfpq"] = "flat"
    index_effort: Natural = 0
    command: str = ""
    tool: str = ""
    query_argument: Name = "query"
    k_argument: str = ""
    record: str = ""
    replay: str = ""
    max_searches: Natural = 0
    max_usd: Annotated[float, Field(ge=0)] = 0.0
    usd_per_search: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _is_whole(self) -> EngineConfig:
        lacking = self.lacking()
        if lacking:
            raise ValueError(f"kind '{self.kind}' needs {' or '.join(f'`{name}` ({_SETTING_IS[name]})' for name in lacking)}")
        if self.record and self.replay:
            raise ValueError("record and replay exclude each other: record calls for what is missing, replay never does")
        if self.max_usd and not self.usd_per_search:
            raise ValueError(f"max_usd = {self.max_usd:g} needs usd_per_search, the price of one search")
        for name in ("url", "command"):
            if _SECRET.search(getattr(self, name)):
                raise ValueError(
                    f"{name} holds a password or a key, which would be written down; put it in the environment, write ${{NAME}}"
                )
        return self

    def lacking(self) -> tuple[str, ...]:
        """The settings one of which is needed and none of which is there; empty when nothing is lacking."""
        groups = ENGINE_NEEDS.get(self.kind, ())
        return next((group for group in groups if not any(getattr(self, name) for name in group)), ())
