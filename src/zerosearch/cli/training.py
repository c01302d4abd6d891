"""`zerosearch quickstart`, `zerosearch train`, `zerosearch recipes` and `zerosearch study`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from zerosearch.cli.options import JsonOption, SeedOption, console, to_file, to_folder, write_json
from zerosearch.config.recipe import Recipe, built_in_recipes, load_recipe
from zerosearch.core.errors import BadConfig, RunFailed, one_of


def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    seed: SeedOption = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train against the real engine for as many steps, and print both.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """The whole pipeline from nothing, on a laptop: world, base model, simulator, RL, report."""
    from zerosearch.lab.quickstart import compare_with_real_engine, example_question, quickstart

    summary = quickstart(out, seed, console=console)
    if compare:
        summary["real_engine"] = compare_with_real_engine(out, seed, console=console)
    _print_summary(summary)
    console.print(f"\nreport: {out / 'report.html'}", soft_wrap=True)
    console.print(f'ask it: zerosearch ask "{example_question(out)}" --policy {out}', soft_wrap=True)
    write_json(summary, json_file)


_ROWS = {"em": "all questions", "em_one_hop": "one hop", "em_two_hop": "two hops", "em_sampled": "all, sampled at T = 1"}


def _print_summary(summary: Mapping[str, Any]) -> None:
    """The quickstart's last words: before and after, one hop and two, with n and 95% intervals."""
    from rich.table import Table

    base, trained = summary["base"], summary["trained"]
    table = Table(title=f"Exact match on unseen questions, real engine (BM25), n = {trained['n']}", title_justify="left")
    table.add_column("")
    for name in ("base", "trained"):
        table.add_column(f"{name} [95% interval]", justify="right")
    if real := summary.get("real_engine"):
        table.add_column("trained on the real engine", justify="right")
    for key, label in _ROWS.items():
        table.add_row(label, *(_cell(figures, key) for figures in (base, trained, *([real] if real else []))))
    console.print(table)
    console.print("by type: " + ", ".join(f"{name} {em:.2f}" for name, em in sorted(trained["by_type"].items(), key=lambda x: x[1])))
    card = summary["simulator"]
    console.print(
        f"simulator: P(answer | useful) {card['answer_in_useful']:.2f}, P(answer | noisy) {card['answer_in_noisy']:.2f}, "
        f"P(answer | useful, off-target query) {card['answer_off_target']:.2f} (BM25: {card['real_engine_off_target']:.2f}), "
        f"{card['documents_per_reply']:.1f} documents per reply, malformed {card['malformed_share']:.0%}"
    )
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["phases"].items())
    console.print(f"took {summary['wall_s']:.0f} s: {phases}")


def _cell(figures: Mapping[str, Any], key: str) -> str:
    low, high = figures["intervals"][key]
    return f"{figures[key]:.3f} [{low:.3f}, {high:.3f}]"


def train(
    recipe: Annotated[str | None, typer.Argument(help="A TOML file, or a name that `zerosearch recipes` lists.", metavar="RECIPE")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value, put on top of the recipe.", metavar="KEY=VALUE…")
    ] = None,
    resume: Annotated[str, typer.Option("--resume", help="Resume the run in this directory.", metavar="DIR")] = "",
    out: Annotated[str, typer.Option("--out", help="The run directory; the same as run.out=DIR.", metavar="DIR")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With engine=verl: print verl's command line, and do nothing.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Train a policy by RL against a search engine, simulated or real, as a recipe says. engine=verl: on a cluster."""
    words = [*([recipe] if recipe else []), *(overrides or [])]
    settings = [*(w for w in words if "=" in w), *([f'run.out="{out}"'] if out else [])]
    files = [w for w in words if "=" not in w]
    if resume:
        loaded = _resumed(resume, files, settings)
    elif len(files) == 1:
        loaded = load_recipe(files[0], settings)
    else:
        raise BadConfig("give one recipe, or --resume DIR: zerosearch train RECIPE [section.key=value …].")
    if loaded.run.trainer == "verl":
        write_json(_on_verl(loaded, bool(resume), dry_run), json_file)
        return
    if dry_run:
        raise BadConfig("--dry-run prints verl's command line; add engine=verl.")

    from zerosearch.api.training import run_training

    run = run_training(loaded, console, resume=bool(resume))
    console.print(f"report: {run.path / 'report.html'}", soft_wrap=True)
    write_json(run.summary, json_file)


def recipes(
    name: Annotated[str, typer.Argument(help="Which one; none: a list of them.", metavar="NAME")] = "",
    out: Annotated[Path | None, to_file("--out", help="Write it to this file; left out: to stdout.")] = None,
) -> None:
    """List the recipes and scheduler examples that come with the package, or print one of them."""
    built_in = built_in_recipes()
    if not name and out:
        raise BadConfig(f"--out {out} takes one recipe; name it: zerosearch recipes NAME --out {out}.")
    if not name:
        width = max(map(len, built_in))
        for each, text in built_in.items():
            print(each.ljust(width), next(line[2:] for line in text.splitlines() if line.startswith("# ")), sep="  ")
        return
    text = built_in[one_of("recipe", name.removesuffix(".toml"), built_in)]
    if out and str(out) != "-":
        out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _on_verl(recipe: Recipe, resume: bool, dry_run: bool) -> dict[str, Any]:
    from zerosearch.integrations.verl.launch import run_verl
    from zerosearch.integrations.verl.settings import MODULE, command_line, placed, verl_settings

    recipe = placed(recipe)
    if not dry_run:
        return run_verl(recipe, console, resume)
    settings = verl_settings(recipe, Path(recipe.run.out))
    print(command_line(MODULE, settings))
    console.print("nothing was written; zerosearch export verl writes the files this line names", soft_wrap=True)
    return settings


def _resumed(directory: str, files: list[str], settings: list[str]) -> Recipe:
    """The recipe of the run in `directory`. A recipe or settings given beside it must say what the run was started with."""
    from zerosearch.config.recipe import open_run, require_same

    run, kept = open_run(directory)
    wanted = load_recipe(files[0] if files else run.config, settings)
    if kept.run.trainer == "verl":
        from zerosearch.integrations.verl.settings import placed

        wanted = placed(wanted)
    require_same(run, wanted)
    return kept


def study(
    claims: Annotated[list[str] | None, typer.Argument(help="Which claims; none: all of them.", metavar="CLAIM…")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds of each arm.")] = 5,
    out: Annotated[Path, to_folder("--out", help="Where the runs and the page go.")] = Path("runs/study"),
    page_only: Annotated[bool, typer.Option("--page-only", help="Run nothing; write the page of what is finished.")] = False,
    json_file: JsonOption = None,
) -> None:
    """The paper's claims in the micro world: a matrix of runs, and a page of verdicts. Started again, it resumes."""
    from zerosearch.lab.findings import collect
    from zerosearch.lab.study import Study
    from zerosearch.lab.study import study as run_study
    from zerosearch.lab.study_page import whole, write_page

    failures = {} if page_only else run_study(claims or [], seeds, out, console)
    data = collect(Study(out))
    write_page(data, out)
    console.print(f"page: {out / 'study.md'}", soft_wrap=True)
    write_json(whole(data), json_file)
    if failures:
        name, why = next(iter(failures.items()))
        raise RunFailed(f"{len(failures)} of the study's jobs failed, the first {name}: {why}; the same command tries them again.")
