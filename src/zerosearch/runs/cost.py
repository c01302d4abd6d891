"""What a run used and what that costs: searches, tokens, seconds, dollars; and what the same searches cost at an API.

    dollars = searches · price/1,000  +  tokens · price/1,000,000  +  cpu_s · price/3,600  +  gpu_s · price/3,600

Prices are an editable table (`prices.toml`); what it lacks is listed as unpriced.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zerosearch.core.errors import BadFile

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenPrice(_Table):
    prompt: Price
    new: Price


class HourPrice(_Table):
    cpu_core: Price
    gpu: Price


class PaperTable(_Table):
    queries: Annotated[int, Field(ge=1)]
    api: str
    hours: Price
    gpus: dict[str, Annotated[int, Field(ge=1)]]


class Prices(_Table):
    usd_per_1000_searches: dict[str, Price]
    usd_per_hour: HourPrice
    usd_per_million_tokens: dict[str, TokenPrice] = {}
    paper: PaperTable


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a run used. `model` names an endpoint's model; None for one in this process, which costs its seconds instead.

    `paid_searches` are those that reached the engine; None: all of them, none was answered from a recording.
    """

    searches: int
    engine: str | None
    prompt_tokens: int
    new_tokens: int
    wall_s: float
    cpu_s: float
    gpu_s: float
    model: str | None = None
    paid_searches: int | None = None


def load_prices(file: str = "") -> Prices:
    """The table in `file`, or the package's own. Raises BadFile, one line that says what is wrong in it."""
    name = file or "the package's prices.toml"
    try:
        text = Path(file).read_text(encoding="utf-8") if file else (files("zerosearch.evaluation") / "prices.toml").read_text()
        return Prices.model_validate(tomllib.loads(text))
    except OSError as error:
        raise BadFile(f"cannot read the price table '{name}' ({error.strerror}); --prices takes a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"the price table '{name}' is not valid TOML: {error}.") from error
    except ValidationError as error:
        found = error.errors()[0]
        key = ".".join(map(str, found["loc"]))
        raise BadFile(f"the price table '{name}', key '{key}': {found['msg'][:1].lower()}{found['msg'][1:]}.") from error


def cost_of(work: ResourceUse, prices: Prices) -> dict[str, Any]:
    """`{"searches", "paid_searches", "prompt_tokens", "new_tokens", "wall_s", "cpu_s", "gpu_s", "usd": {…, "total"}, "unpriced"}`."""
    unpriced: list[str] = []
    searches_usd = tokens_usd = 0.0
    paid = work.searches if work.paid_searches is None else work.paid_searches
    if paid:
        per_1000 = prices.usd_per_1000_searches.get(work.engine or "")
        if per_1000 is None:
            unpriced.append(f"searches of {work.engine}")
        searches_usd = paid * (per_1000 or 0.0) / 1000
    if work.model is not None:
        token_price = prices.usd_per_million_tokens.get(work.model)
        if token_price is None:
            unpriced.append(f"tokens of {work.model or 'the endpoint'}")
        else:
            tokens_usd = (work.prompt_tokens * token_price.prompt + work.new_tokens * token_price.new) / 1e6
    compute_usd = compute_cost(work.cpu_s, work.gpu_s, prices)
    usd = {"searches": searches_usd, "tokens": tokens_usd, "compute": compute_usd, "total": searches_usd + tokens_usd + compute_usd}
    return {
        "searches": work.searches,
        "paid_searches": paid,
        "prompt_tokens": work.prompt_tokens,
        "new_tokens": work.new_tokens,
        "wall_s": work.wall_s,
        "cpu_s": work.cpu_s,
        "gpu_s": work.gpu_s,
        "usd": {name: round(value, 6) for name, value in usd.items()},
        "unpriced": unpriced,
    }


def compute_cost(cpu_s: float, gpu_s: float, prices: Prices) -> float:
    return (cpu_s * prices.usd_per_hour.cpu_core + gpu_s * prices.usd_per_hour.gpu) / 3600


def training_work(metrics: Iterable[Mapping[str, Any]], rollouts_per_step: int, engine: str, on_gpu: bool, workers: int = 1) -> ResourceUse:
    """What the train rows of a metrics.jsonl add up to; means in them are over the rollouts that did not fail.

    Seconds are those of the steps, rollouts and learning alike; on a CPU each of the workers keeps a core busy.
    """
    rows = [row for row in metrics if row["kind"] == "train"]
    sound = [rollouts_per_step - row["failed"] for row in rows]

    def total(name: str) -> int:
        return round(sum(row[name] * n for row, n in zip(rows, sound, strict=True)))

    seconds = round(sum(row["seconds"] for row in rows), 3)
    new = total("policy_tokens")
    return ResourceUse(
        searches=total("searches"),
        engine=engine,
        prompt_tokens=total("tokens") - new,
        new_tokens=new,
        wall_s=seconds,
        cpu_s=0.0 if on_gpu else round(seconds * workers, 3),
        gpu_s=seconds if on_gpu else 0.0,
    )
