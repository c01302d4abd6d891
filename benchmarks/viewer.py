"""The viewer on a run with 100,000 trajectories: first paint, filter and page, live lag, its CPU, and the size of a report.

    python benchmarks/viewer.py --json -
    python benchmarks/viewer.py --trajectories 5000 --report runs/quickstart --json -

No peer: figures are compared with `must`. First paint is Chromium's own first-contentful-paint, headless, on loopback, of the overview:
once while the index is still being built (`cold`), then with all of it read; `charts` is when these appear. Filter and page are timed
over HTTP, the slowest of the queries; `cpu` is the mean the server needs. The lag is from a line in metrics.jsonl to its number on the
page; the CPU share is the server's while the page is open and the run writes a step every five seconds, as the quickstart does. `indexes`
compares SQLite in memory with a list of Python rows that is scanned, and with reading the file again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from zerosearch.cli.options import write_json
from zerosearch.data.trajectories import read_trajectories
from zerosearch.viewer.filters import Filter
from zerosearch.viewer.index import Index
from zerosearch.viewer.report import write_report

PACE_S = 5.0  # a step of the quickstart
MUST = {"first_paint_s": 1.0, "filter_and_page_ms": 100, "live_lag_s": 2.0, "cpu_share": 0.05, "report_mb": 5}
WORDS = "who founded the employer of where was the director born which country spouse harbor silent river north".split()
QUERIES = [
    {},
    {"q": "river"},
    {"q": "silent", "score": "right", "sort": "reward", "descending": "1"},
    {"noise": "noisy", "from": "100", "to": "400", "offset": "5000"},
    {"sort": "tokens", "descending": "1", "offset": "90000"},
]


def write_run(folder: Path, trajectories: int, seed: int = 0) -> None:
    """A run of 144 rollouts per step, about 4 kB each, as a quickstart's are."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    steps = -(-trajectories // 144)
    (folder / "config.toml").write_text(f"[rl]\nsteps = {steps}\nquestions_per_step = 12\ngroup_size = 12\n")
    with (folder / "metrics.jsonl").open("w") as out:
        out.writelines(json.dumps(metrics_row(step, rng)) + "\n" for step in range(1, steps + 1))
    left = trajectories
    with (folder / "trajectories.jsonl.gz").open("wb") as out:
        for step in range(1, steps + 1):
            rows = [trajectory_row(step, i, rng) for i in range(min(144, left))]
            left -= len(rows)
            out.write(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 1, mtime=0))


def metrics_row(step: int, rng: random.Random) -> dict[str, Any]:
    names = ("reward", "em", "f1", "noise_rate", "noise_drawn", "searches", "malformed_share", "kl", "entropy", "loss", "grad_norm")
    return {
        "kind": "train",
        "step": step,
        "failed": 0,
        "policy_tokens": 40,
        "tokens": 200,
        "seconds": 5,
        **{n: rng.random() for n in names},
    }


def trajectory_row(step: int, i: int, rng: random.Random) -> dict[str, Any]:
    def text(n: int) -> str:
        return " ".join(rng.choices(WORDS, k=n))

    def span(author: str, n: int) -> dict[str, Any]:
        sampled = author == "policy"
        ids = [rng.randrange(350) for _ in range(n)]
        return {"author": author, "text": text(n), "token_ids": ids, "logprobs": [round(-rng.random(), 5) for _ in ids] if sampled else []}

    searches = rng.randrange(4)
    em = float(rng.random() < 0.5)
    documents = [{"title": text(2), "text": text(15), "id": str(k)} for k in range(3)]
    turns = [span(author, n) for _ in range(searches) for author, n in (("policy", 16), ("environment", 60))]
    return {
        "step": step,
        "phase": "train",
        "question": {"id": f"q{step}-{i // 12}", "text": text(9) + "?", "golden_answers": [text(2)]},
        "sample": i % 12,
        "spans": [span("prompt", 12), *turns],
        "searches": [
            {"turn": t, "query": text(3), "quality": rng.choice(("useful", "noisy")), "documents": documents} for t in range(searches)
        ],
        "stop_reason": "answered",
        "answer": text(2),
        "scores": {"em": em, "cover_em": em, "f1": em},
        "reward": em,
        "advantage": em - 0.5,
    }


class Viewer:
    def __init__(self, folder: Path, cache: Path) -> None:
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        command = [sys.executable, "-m", "zerosearch", "view", str(folder), "--no-open", "--port", "8810"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    def get(self, path: str, words: dict[str, str]) -> Any:
        with urllib.request.urlopen(f"{self.url}api/{path}?{urllib.parse.urlencode(words)}", timeout=60) as reply:
            return json.load(reply)

    def wait_until_read(self) -> float:
        started = time.perf_counter()
        while self.get("state", {})["runs"][0]["read_share"] < 1:
            time.sleep(0.1)
        return time.perf_counter() - started

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def first_paint(browser: Any, url: str) -> tuple[float, float]:
    """Seconds to the first paint, and until the charts' data is there."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("main section")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    content = page.evaluate("performance.now()") / 1000
    page.close()
    return round(paint, 3), round(content, 3)


def live(viewer: Viewer, run: Path, browser: Any, steps: int, rounds: int) -> dict[str, float]:
    """Steps at the quickstart's pace, and after each: how long until its number is on the page."""
    page = browser.new_page()
    page.goto(viewer.url)
    page.wait_for_selector("main section")
    rng, lags = random.Random(1), []
    before, began = viewer.cpu_s(), time.perf_counter()
    for step in range(steps + 1, steps + 1 + rounds):
        with (run / "metrics.jsonl").open("a") as out:
            out.write(json.dumps(metrics_row(step, rng)) + "\n")
        with (run / "trajectories.jsonl.gz").open("ab") as out:
            out.write(gzip.compress((json.dumps(trajectory_row(step, 0, rng)) + "\n").encode()))
        lags.append(timed(lambda step=step: page.wait_for_selector(f"figcaption:has-text('at step {step:,}')", timeout=20_000)))
        time.sleep(max(0.0, PACE_S - lags[-1]))
    share = (viewer.cpu_s() - before) / (time.perf_counter() - began)
    page.close()
    return {"live_lag_s": round(max(lags), 3), "live_lag_median_s": round(median(lags), 3), "cpu_share": round(share, 4)}


def compare_indexes(file: Path) -> dict[str, float]:
    """The same question, four words and a sort, to SQLite, to a list that is scanned, and to the file itself."""
    index = Index([file])
    build = timed(index.refresh)
    rows = [(r["question"].casefold(), r["em"], r["reward"], r["n"]) for r in index.rows(range(len(index)))]

    def scan(word: str) -> list[Any]:
        return sorted((r for r in rows if word in r[0] and r[1] == 1), key=lambda r: -r[2])[:50]

    def again() -> list[Any]:
        found = (r for r in read_trajectories(file) if "silent" in r["question"]["text"] and r["scores"]["em"] == 1)
        return sorted(found, key=lambda r: -r["reward"])[:50]

    words = WORDS[-5:]  # a new one each time, so nothing is remembered
    sqlite = median(timed(lambda w=w: index.page(Filter(w, score="right", sort="reward", descending=True))) for w in words)
    record = median(timed(lambda n=n: index.record(n)) for n in random.Random(0).sample(range(len(index)), 20))
    return {
        "build_s": round(build, 2),
        "sqlite_ms": round(1000 * sqlite, 2),
        "list_ms": round(1000 * median(timed(lambda w=w: scan(w)) for w in words), 2),
        "file_ms": round(1000 * timed(again), 1),
        "one_record_ms": round(1000 * record, 2),
    }


def measure(trajectories: int, report: Path | None, rounds: int) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        root = Path(temporary)
        run = root / "run"
        write_run(run, trajectories)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        viewer = Viewer(run, root / "cache")
        try:
            cold = first_paint(browser, viewer.url)
            reading = viewer.wait_until_read()
            time.sleep(1.5)
            warm = [first_paint(browser, viewer.url) for _ in range(3)]
            times = [[timed(lambda q=q, i=i: viewer.get("trajectories", {**q, "from": str(i)})) for i in range(1, 6)] for q in QUERIES]
            before = viewer.cpu_s()
            for i in range(10):  # a new filter each time, so nothing is remembered
                for query in QUERIES:
                    viewer.get("trajectories", {**query, "to": str(600 + i)})
            cpu_ms = 1000 * (viewer.cpu_s() - before) / (10 * len(QUERIES))
            lag = live(viewer, run, browser, -(-trajectories // 144), rounds)
        finally:
            viewer.end()
            browser.close()
        indexes = compare_indexes(run / "trajectories.jsonl.gz")
        size = write_report(report or run, out=root / "report.html").stat().st_size
    return {
        "trajectories": trajectories,
        "first_paint_s": median(p for p, _ in warm),
        "charts_s": median(c for _, c in warm),
        "first_paint_cold_s": cold[0],
        "charts_cold_s": cold[1],
        "index_s": round(reading, 1),
        "filter_and_page_ms": round(1000 * max(median(t) for t in times), 1),
        "filter_and_page_cpu_ms": round(cpu_ms, 1),
        **lag,
        "report_mb": round(size / 1e6, 2),
        "indexes": indexes,
        "must": MUST,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=8, help="steps written while the page is open")
    parser.add_argument("--report", type=Path, help="the run whose report is measured; by default the synthetic one")
    parser.add_argument("--json", type=Path, default="-", metavar="FILE")
    options = parser.parse_args()
    write_json(measure(options.trajectories, options.report, options.rounds), options.json)


if __name__ == "__main__":
    main()
