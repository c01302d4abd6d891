"""The options several commands share, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from zerosearch.errors import BadConfig, BadFile, one_of

console = Console(stderr=True)

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write one JSON object to this file; - is stdout.", metavar="FILE")]
PolicyOption = Annotated[
    str, typer.Option("--policy", help="A model: a folder, a run directory, a Hugging Face hub id, or an endpoint's URL (http://…/v1).")
]
EngineOption = Annotated[str, typer.Option("--engine", help="bm25 (with --corpus) or simulated (with --simulator).")]
CorpusOption = Annotated[str, typer.Option("--corpus", help="JSONL or JSONL.gz with id, title, text.", metavar="FILE")]
SimulatorOption = Annotated[
    str, typer.Option("--simulator", help="The simulator: a folder, a hub id, or an OpenAI-compatible endpoint's URL.")
]
TemplateOption = Annotated[str, typer.Option("--template", help="The simulator's prompt: a built-in name or a file.")]
PromptOption = Annotated[
    str, typer.Option("--prompt", help="The policy's prompt: a built-in name or a file; by default what its run used.")
]
TurnsOption = Annotated[
    int | None,
    typer.Option("--max-turns", min=1, help="Policy turns at most, the answering one included; by default what its run used, or 4."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0)]


def engine_table(engine: str, corpus: str, simulator: str, template: str) -> dict[str, Any]:
    """The options of an engine as a recipe's [engine] section."""
    kind = one_of("engine", engine or ("bm25" if corpus else "simulated"), ("bm25", "simulated"))
    if kind == "bm25":
        if not corpus:
            raise BadConfig("--engine bm25 needs --corpus FILE, JSONL or JSONL.gz with id, title, text.")
        return {"kind": kind, "corpus": corpus}
    if not simulator:
        raise BadConfig("--engine simulated needs --simulator: a folder, a hub id, or an OpenAI-compatible endpoint's URL.")
    where = "url" if simulator.startswith(("http://", "https://")) else "model"
    return {"kind": kind, where: simulator, "template": template}


def write_json(result: object, file: Path | None) -> None:
    if file is None:
        return
    text = json.dumps(result, indent=2, default=float)
    if str(file) == "-":
        print(text)
        return
    try:
        file.write_text(text + "\n")
    except OSError as error:
        raise BadFile(f"cannot write '{file}' ({error.strerror}); give --json another path.") from error
