"""`zerosearch export verl`, `zerosearch export hf` and `zerosearch size`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerosearch.cli.options import JsonOption, console, to_folder, write_json
from zerosearch.config import load_recipe

export = typer.Typer(help="What others read: verl's files, a Hugging Face folder.", no_args_is_help=True)


@export.command("verl")
def export_verl(
    recipe: Annotated[str, typer.Argument(help="A TOML recipe.", metavar="RECIPE.toml")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value, put on top.", metavar="KEY=VALUE…")] = None,
    out: Annotated[str, typer.Option("--out", help="The run directory; the same as run.out=DIR.", metavar="DIR")] = "",
) -> None:
    """Write what a run on verl needs (parquet, YAML, the complete recipe) and print its command line, for a scheduler of yours."""
    from zerosearch.rundir import RunDirectory
    from zerosearch.scaling.verl.files import placed, write_files
    from zerosearch.scaling.verl.settings import command_line, verl_settings

    loaded = placed(load_recipe(recipe, ["engine=verl", *(overrides or []), *([f'run.out="{out}"'] if out else [])]))
    run = RunDirectory(Path(loaded.run.out))
    line = command_line(verl_settings(loaded, run.path))
    run.require_new()
    run.create(loaded)
    write_files(loaded, run)
    print(line)


@export.command("hf")
def export_hf(
    checkpoint: Annotated[Path, typer.Argument(help="global_step_N of verl's, or a run: its newest.", metavar="CHECKPOINT")],
    out: Annotated[Path, to_folder("--out", help="Where the Hugging Face folder goes.")],
) -> None:
    """Merge a checkpoint of verl's into a folder that evaluate and ask take."""
    from zerosearch.scaling.verl.launch import export_hf as merge

    merge(checkpoint, out)
    console.print(f"model: {out}; ask it: zerosearch ask QUESTION --policy {out}", soft_wrap=True)
