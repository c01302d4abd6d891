"""The [engine] section of a recipe: every search engine's settings, and those that each kind requires."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zerosearch.core.settings import Name, Natural, Positive, Section

# user:password@ in an address, or …key=… among its parameters, unless it is a ${NAME}
_SECRET = re.compile(r"://[^/\s:@]*:(?!\$\{)[^/\s@]+@|[?&][\w-]*(?:key|token|secret)=(?!\$\{)[^&\s]", re.IGNORECASE)


# what each kind requires: one setting of each group. A kind that is not listed requires nothing.
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
    "command": "the command that starts an MCP server",
    "replay": "a file of recorded searches",
}


class EngineConfig(Section):
    """A search engine. Which settings count depends on its `kind`:

    - `simulated`: `model` or `url`, how it samples, its `template` and what fills it, and the guard.
    - `bm25`: `corpus` and `index_dir`.
    - `dense`, `hybrid`: also `encoder`, how it is used, and the FAISS index.
    - `search-r1`, `serper`, `serpapi`, `searxng`, `tavily`, `brave`: `url`, which has a default where the service has an address; keys come
      from the environment.
    - `mcp`: `command` or `url` of an MCP server, its `tool` and the names of the tool's arguments.
    - `replay`: the one engine whose searches are in the file `replay`.
    - `module:name`: a function of your own, `(query, k) -> documents`.

    `url` and `command` may name environment variables as `${NAME}`, so that a recipe holds no secret. With several addresses in `url` the
    least loaded is asked. `record`, `replay` and the limits work around any engine.
    """

    kind: Name = "simulated"  # The engine's name, or module:name of your own.
    k: Positive = 5  # Documents per search.
    model: str = ""  # The simulator, run in this process: a folder or hub id.
    url: str = ""  # Where the engine answers; several simulators with spaces between them.
    template: str = "web"  # The simulator's prompt: web, tuned, micro, or a file.
    persona: Name = "a search engine"  # What the simulator stands in for: {persona} of a template.
    domain: Name = "the web"  # {domain} of a template.
    language: Name = "English"  # {language} of a template.
    words_per_document: Positive = 30  # {words} of a template.
    guard_redraws: Natural = 0  # How often a reply that breaks its keyword is drawn again.
    guarded: Literal["both", "noisy"] = "both"  # Which replies are checked so.
    temperature: Annotated[float, Field(ge=0)] = 0.8  # Of the simulator.
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95  # Of the simulator.
    max_new_tokens: Positive = 600  # Tokens of a simulator's reply.
    timeout_s: Annotated[float, Field(gt=0)] = 120.0  # Seconds that one request may take.
    outage_s: Annotated[float, Field(ge=0)] = 300.0  # Seconds that all endpoints of a simulator may be down.
    max_attempts: Positive = 4  # Tries of a request, or of a reply without a document.
    max_concurrency: Positive = 64  # Requests under way at once.
    share_coin_in_group: bool = False  # Draw useful or noisy once for all rollouts of a question.
    corpus: str = ""  # A file: JSONL or JSONL.gz with id, title, text.
    index_dir: str = ""  # Where the index is; by default beside the corpus.
    encoder: str = ""  # Of dense and hybrid: a folder or hub id.
    encoder_max_tokens: Positive = 256  # Tokens of a text that are encoded.
    pooling: Literal["mean", "cls", "last"] = "mean"  # How the encoder's states become one vector.
    normalised: bool = True  # Whether vectors have length 1.
    query_prefix: str = ""  # Put before every query.
    passage_prefix: str = ""  # Put before every passage.
    index_kind: Literal["flat", "hnsw", "ivfpq"] = "flat"  # The FAISS index.
    index_effort: Natural = 0  # The beam of hnsw, or the lists that ivfpq probes; 0 is the kind's own.
    command: str = ""  # What starts an MCP server.
    tool: str = ""  # The MCP server's search tool; needed when it has several.
    query_argument: Name = "query"  # The tool's argument for the query.
    k_argument: str = ""  # The tool's argument for k; empty: it has none.
    record: str = ""  # A file that keeps what is found; nothing is asked twice.
    replay: str = ""  # A file of recorded searches, which alone is asked.
    max_searches: Natural = 0  # Stop before one search more; 0 is no limit.
    max_usd: Annotated[float, Field(ge=0)] = 0.0  # Stop before spending more; 0 is no limit.
    usd_per_search: Annotated[float, Field(ge=0)] = 0.0  # The price of a search.

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        lacking = self.lacking()
        if lacking:
            raise ValueError(f"kind '{self.kind}' needs {' or '.join(f'`{name}` ({_SETTING_IS[name]})' for name in lacking)}")
        if self.record and self.replay:
            raise ValueError("record and replay exclude each other: record makes missing searches, replay makes none")
        if self.max_usd and not self.usd_per_search:
            raise ValueError(f"max_usd = {self.max_usd:g} needs usd_per_search, the price of one search")
        for name in ("url", "command"):
            if _SECRET.search(getattr(self, name)):
                raise ValueError(
                    f"{name} holds a password or a key, which would be saved with the run; put it in the environment and write ${{NAME}}"
                )
        return self

    def lacking(self) -> tuple[str, ...]:
        """The settings one of which is required while none is given; empty if nothing is lacking."""
        groups = ENGINE_NEEDS.get(self.kind, ())
        return next((group for group in groups if not any(getattr(self, name) for name in group)), ())
