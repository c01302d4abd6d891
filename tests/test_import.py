"""`import zerosearch` is light, and has the face that it promises."""

import json
import re
import subprocess
import sys
from pathlib import Path

import zerosearch as zs

MEASURE = """
import json, sys, time
before, started = set(sys.modules), time.process_time()
import zerosearch
heavy = {"train", "arollout", "evaluate", "Run", "Report", "BM25Engine", "SimulatedEngine", "Algorithm"}
names = [getattr(zerosearch, name) for name in set(zerosearch.__all__) - heavy]
seconds = time.process_time() - started
print(json.dumps({"seconds": seconds, "names": len(names), "packages": sorted({n.split(".")[0] for n in set(sys.modules) - before})}))
"""
HEAVY = {"torch", "transformers", "tokenizers", "numpy", "pydantic", "aiohttp", "jinja2", "typer", "rich", "bm25s", "jaxtyping"}


def test_import_is_light() -> None:
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", MEASURE], text=True)) for _ in range(3)]
    assert HEAVY.isdisjoint(runs[0]["packages"]) and runs[0]["names"] > 30
    assert min(run["seconds"] for run in runs) < 0.3, runs


def test_every_name_of_the_face_is_there_and_typed() -> None:
    listed = re.findall(r'^    "(\w+)",$', Path(str(zs.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(zs.__all__) and all(callable(getattr(zs, name)) for name in zs.__all__)
    assert set(zs.__all__) <= set(dir(zs))
    contract = "train rollout arollout evaluate Environment SearchEnvironment Step SimulatedEngine BM25Engine Question Trajectory Document"
    assert set(contract.split()) <= set(zs.__all__)


def test_rollout_is_a_function_and_a_package() -> None:
    """Python puts a package that was imported in the place of whatever had its name."""
    import zerosearch.rollout.loop

    assert callable(zs.rollout) and zerosearch.rollout.loop.__name__ == "zerosearch.rollout.loop"
