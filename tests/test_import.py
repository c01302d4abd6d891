"""`import zerosearch` is light: no torch, and hardly any time."""

import json
import subprocess
import sys

MEASURE = """
import json, sys, time
before, started = set(sys.modules), time.process_time()
import zerosearch
names = [getattr(zerosearch, name) for name in zerosearch.__all__]
seconds = time.process_time() - started
print(json.dumps({"seconds": seconds, "packages": sorted({name.split(".")[0] for name in set(sys.modules) - before})}))
"""
HEAVY = {"torch", "transformers", "tokenizers", "numpy", "pydantic", "aiohttp", "jinja2", "typer", "rich", "bm25s", "jaxtyping"}


def test_import_is_light() -> None:
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", MEASURE], text=True)) for _ in range(3)]
    assert HEAVY.isdisjoint(runs[0]["packages"])
    assert min(run["seconds"] for run in runs) < 0.3, runs
