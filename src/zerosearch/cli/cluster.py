"""`zerosearch export verl`, `zerosearch export hf` and `zerosearch size`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from zerosearch.cli.options import JsonOption, console, to_folder, write_json
from zerosearch.config.recipe import load_recipe
from zerosearch.core.errors import BadInput
from zerosearch.core.install import not_installed

export = typer.Typer(help="What others read: verl's files, a Hugging Face folder.", no_args_is_help=True)


@export.command("verl")
def export_verl(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a name that `zerosearch recipes` lists.", metavar="RECIPE")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value, put on top.", metavar="KEY=VALUE…")] = None,
    out: Annotated[str, typer.Option("--out", help="The run directory; the same as run.out=DIR.", metavar="DIR")] = "",
) -> None:
    """Write what a run on verl needs (parquet, YAML, the complete recipe) and print its command line, for a scheduler of yours."""
    from zerosearch.integrations.verl.files import prepare
    from zerosearch.integrations.verl.settings import MODULE, command_line, placed, verl_settings
    from zerosearch.runs.directory import RunDirectory

    if find_spec("pyarrow") is None:
        raise BadInput(not_installed("export verl", "pyarrow", "parquet"))
    loaded = placed(load_recipe(recipe, ["engine=verl", *(overrides or []), *([f'run.out="{out}"'] if out else [])]))
    run = RunDirectory(Path(loaded.run.out))
    line = command_line(MODULE, verl_settings(loaded, run.path))
    prepare(loaded, run)
    print(line)


@export.command("hf")
def export_hf(
    checkpoint: Annotated[Path, typer.Argument(help="global_step_N of verl's, or a run: its newest.", metavar="CHECKPOINT")],
    out: Annotated[Path, to_folder("--out", help="Where the Hugging Face folder goes.")],
) -> None:
    """Merge a checkpoint of verl's into a folder that evaluate and ask take."""
    from zerosearch.integrations.verl.launch import export_hf as merge

    merge(checkpoint, out)
    console.print(f"model: {out}; ask it: zerosearch ask QUESTION --policy {out}", soft_wrap=True)


def size(
    policy: Annotated[str, typer.Option("--policy", help="The policy's size: 3b, 4b, 7b, 8b, 14b.")] = "7b",
    simulator: Annotated[str, typer.Option("--simulator", help="The simulator's.")] = "14b",
    gpus: Annotated[int, typer.Option("--gpus", min=2, help="GPUs in all.")] = 16,
    gpu: Annotated[str, typer.Option("--gpu", help="a100, h100 or h200.")] = "h100",
    questions: Annotated[int, typer.Option("--questions", min=1, help="Questions per step.")] = 64,
    group_size: Annotated[int, typer.Option("--group-size", min=1, help="Rollouts per question.")] = 5,
    searches: Annotated[float, typer.Option("--searches", min=0.1, help="Searches per rollout.")] = 2.0,
    turn: Annotated[int, typer.Option("--turn-tokens", min=1, help="Tokens the policy writes a turn.")] = 150,
    reply: Annotated[int, typer.Option("--reply-tokens", min=1, help="Tokens the simulator writes a search.")] = 300,
    json_file: JsonOption = None,
) -> None:
    """On paper: how to split GPUs between trainer and simulator, searches and tokens per second, what becomes the limit."""
    from rich.table import Table

    from zerosearch.core.errors import one_of
    from zerosearch.integrations.verl.size import GPUS, MODELS, Workload, best_split

    sizes = [MODELS[one_of("size", name.lower(), MODELS)] for name in (policy, simulator)]
    work = Workload(questions * group_size, searches, turn=turn, simulator_reply=reply)
    result = best_split(sizes[0], sizes[1], GPUS[one_of("GPU", gpu.lower(), GPUS)], gpus, work).as_dict()
    table = Table("of a step, on paper (docs/scaling.md says from what)", "")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:,.1f}" if isinstance(value, float) else str(value))
    console.print(table)
    write_json(result, json_file)
