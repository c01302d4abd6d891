"""The page as one HTML file that needs no network, and cannot be made to use it."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from zerosearch.data.files import write_atomically, writing
from zerosearch.viewer.api import Api, shown
from zerosearch.viewer.run_view import Run, find, open_runs
from zerosearch.viewer.sample import choose

_HERE = Path(__file__).parent
_FOLDERS = {"uPlot.min.css": "vendor", "uPlot.iife.min.js": "vendor"}


def write_report(run_dir: Path, resume_command: str = "the same command", out: Path | None = None) -> Path:
    """Write `report.html` into the directory of a run (or to `out`) and return its path.

    Files cut by a kill are read up to the cut, and the page says so. Raises BadFile for a folder that is not a run, RunFailed
    if the page cannot be written; `resume_command` is the command named then.
    """
    paths, studies = find([Path(run_dir)])
    run = open_runs(paths[:1])[0] if paths else None
    report = out or Path(run_dir) / "report.html"
    html = page(run, studies)
    with writing(report, resume_command):
        write_atomically(report, html)
    return report


def page(run: Run | None, studies: list[Path]) -> str:
    """The live page with its files and data inside, and a content policy that allows each by its hash."""
    html = (_HERE / "page" / "index.html").read_text("utf-8")
    styles = [_asset(name) for name in re.findall(r'<link rel="stylesheet" href="/page/(.+?)">', html)]
    scripts = [_asset(name) for name in re.findall(r'<script defer src="/page/(.+?)">', html)]
    html = re.sub(r'<link rel="(?:stylesheet|icon)".*?>\n', "", html)
    html = re.sub(r"<script defer.*?</script>\n", "", html)
    sources = f"script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data:"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n' + "".join(f"<style>{text}</style>\n" for text in styles)
    tail = f'<script type="application/json" id="data">{_as_json(contents(run, studies))}</script>\n'
    tail += "".join(f"<script>{text}</script>\n" for text in scripts)
    html = html.replace('<meta charset="utf-8">\n', '<meta charset="utf-8">\n' + head)
    return html.replace("</body>", tail + "</body>")


def contents(run: Run | None, studies: list[Path]) -> dict[str, Any]:
    """Everything the page may ask for, with a bounded sample of the trajectories."""
    api = Api([run] if run else [], studies)
    api.refresh()
    found: dict[str, Any] = {name: api.answer(name, {}) for name in ("overview", "simulator", "compare", "study", "state")}
    for about in found["state"]["runs"]:
        about["live"] = False
        about["path"] = about["key"]  # the file may be mailed, so it does not tell where it was made
    found |= {"trajectories": [], "rows": [], "all": 0, "facets": {"steps": [None, None], "phase": [], "drawn": [], "stop_reason": []}}
    if run:
        numbers = choose(run.index.sizes())
        rows = run.index.rows(numbers)
        kept = set(numbers)
        tokenizer = run.tokenizer_file()
        records = [shown(run, n, run.index.record(n) or {}, tokenizer) for n in numbers]
        for record in records:  # a link to a record that is not included would lead nowhere
            for name in ("group", "elsewhere"):
                record[name] = [{"n": row["n"]} for row in record[name] if row["n"] in kept]
        found |= {"trajectories": records, "rows": rows, "all": len(run.index), "facets": run.index.facets()}
    sample = f"{len(found['rows']):,} of {found['all']:,} trajectories, whole groups spread evenly over the steps" if run else "the study"
    found["note"] = f"This file works without a network and holds {sample}. To see everything, live: zerosearch view RUN."
    return found


def _asset(name: str) -> str:
    return (_HERE / _FOLDERS.get(name, "page") / name).read_text("utf-8").strip()


def _hashes(texts: list[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def _as_json(value: object) -> str:
    """JSON in ASCII that no HTML parser can mistake for markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
