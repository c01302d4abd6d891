"""The page in Debian's Chromium, driven by Playwright: opened, used, photographed; live and as one file; clean to axe-core; harmless."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attack import ATTACK, attacked
from run_examples import write_run

from zerosearch.cli import run as command_line
from zerosearch.viewer.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PAGES = ("overview", "trajectories", "trajectory?n=5&shade=logprob", "trajectory?n=0&n=1", "simulator", "compare", "study")
DOCUMENT = {"title": "T", "text": "born in Velmar"}
EXAMPLE = {"question": "Where?", "golden_answers": ["Velmar"], "query": "birthplace", "useful": [DOCUMENT], "noisy": [], "real": [DOCUMENT]}
CLAIMS = [
    {"id": "mask", "claim": "masking helps", "test": "on − off", "paper": 1.5, "ours": 0.1, "interval": [0.02, 0.2], "n": 5,
     "verdict": "replicates", "plot": {"x": [1, 2], "series": [{"label": "masked", "values": [0.1, 0.2], "low": [0, 0.1]}]}},
    {"id": "mask", "claim": "masking helps", "test": "on − none", "paper": 1.5, "n": 0, "verdict": "not run", "note": "no time"},
    {"id": "size", "claim": "bigger is better", "test": "big − small", "paper": "a figure", "ours": -0.1, "interval": [-0.2, 0.0], "n": 3,
     "verdict": "does not",
     "plot": {"title": "EM", "bars": [{"label": "big", "mean": 0.4}, {"label": "small", "mean": 0.5, "low": 0.4, "high": 0.6}]}},
]  # fmt: skip


def complete_run(folder: Path) -> Path:
    write_run(folder)
    (folder / "card.json").write_text(
        json.dumps({"figures": {"answer_in_useful": {"mean": 0.9, "low": 0.8, "high": 1.0, "n": 3}}, "examples": [EXAMPLE]})
    )
    (folder / "study.json").write_text(json.dumps({"title": "Study", "claims": CLAIMS}))
    return folder


class Viewer:
    """`zerosearch view` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "zerosearch", "view", "--no-open", *arguments]
        # an index that took long is kept: not in the home of whoever runs the tests
        environment = {**os.environ, "XDG_CACHE_HOME": tempfile.mkdtemp(prefix="zerosearch-view-")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.process.communicate(timeout=10)

    def get(self, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        try:
            reply = urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=20)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return int(reply.status or 0), reply.read().decode(), dict(reply.headers)

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    complete_run(root / "first")
    for name in ("second", "third"):
        shutil.copytree(root / "first", root / name)
    return root


@pytest.fixture(scope="module")
def viewer(folder: Path) -> Iterator[Viewer]:
    started = Viewer(str(folder), "--port", "8700")
    yield started
    started.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """A page that remembers everything that went wrong on it, and everything it asked for."""

    def __init__(self, browser: Any, width: int = 1280, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, message: Any) -> None:
        # a viewer that a test has ended is asked once more
        if message.type in ("error", "warning") and "ERR_CONNECTION_REFUSED" not in message.text:
            self.wrong.append(message.text)

    def open(self, base: str, where: str = "overview") -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"{base}#/{where}")
        self.page.wait_for_selector("main > :not(p.about)")
        return self.page


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Playwright's own way of waiting for a condition is eval, which the page forbids."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came to hold")


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    made = Tab(browser)
    yield made
    made.page.close()
    assert made.wrong == []


# ---- each page


@pytest.mark.parametrize("where", PAGES)
def test_each_page_live_and_as_a_file_and_axe_finds_nothing_serious(
    viewer: Viewer, folder: Path, tab: Tab, where: str, tmp_path: Path
) -> None:
    report = folder / "first" / "report.html"
    for base, theme in ((viewer.url, "light"), ((report if report.exists() else write_report(folder / "first")).as_uri(), "dark")):
        page = tab.open(base, where)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        page.screenshot(path=tmp_path / "page.png")
        page.evaluate(AXE.read_text())
        page.evaluate(f"setTheme({theme!r})")
        found = page.evaluate("axe.run()")
        serious = [(v["id"], v["nodes"][0]["html"]) for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert serious == [], (where, theme)
    assert not [url for url in tab.asked if not url.startswith((viewer.url, "file:", "about:", "data:"))]


@pytest.mark.parametrize("width", [400, 3840])
def test_narrow_and_wide(viewer: Viewer, browser: Any, width: int) -> None:
    tab = Tab(browser, width, "dark")
    for where in ("overview", "trajectories", "trajectory?n=0&n=1", "compare"):
        page = tab.open(viewer.url, where)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    tab.page.close()
    assert tab.wrong == []


# ---- used


def test_filter_open_and_come_back(viewer: Viewer, tab: Tab) -> None:
    page = tab.open(viewer.url, "trajectories")
    page.keyboard.press("/")
    page.keyboard.type("Tabo")
    until(page, lambda: "of 400" not in page.locator("#results p").first.inner_text())
    page.get_by_label("Score").select_option("right")
    until(page, lambda: set(page.locator("#results .verdict").all_inner_texts()) == {"right"})
    assert all("Tabo" in text for text in page.locator("#results tbody th").all_inner_texts())
    assert "q=Tabo" in page.url and "score=right" in page.url  # the address can be shared
    shared = page.url
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")
    assert page.locator("tr.selected").count() == 1 and "at=1" in page.url
    page.keyboard.press("Enter")
    page.wait_for_selector("section.trajectory")
    assert "Tabo" in page.locator("main h2").inner_text() and page.locator("mark").count() > 1
    page.keyboard.press("Escape")
    page.wait_for_selector("#results")
    assert page.locator("#q").input_value() == "Tabo"
    other = tab.open(shared.split("#")[0], shared.split("#/")[1])
    other.wait_for_selector("#results .verdict")
    assert other.get_by_label("Score").input_value() == "right"


def test_a_group_and_the_same_question_beside_each_other(viewer: Viewer, tab: Tab) -> None:
    page = tab.open(viewer.url, "trajectory?n=0")
    page.keyboard.press("g")
    page.wait_for_selector(".beside section.trajectory")
    assert page.locator(".beside > section").count() > 1
    assert "Advantage" in page.locator(".beside > section").first.inner_text()
    page.keyboard.press("t")
    page.wait_for_selector("text=Probability under the sampler")
    assert page.locator(".text.masked").count() > 0
    assert "shade=logprob" in page.url


def test_pages_of_rows_tabs_and_help(viewer: Viewer, tab: Tab) -> None:
    page = tab.open(viewer.url, "trajectories")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=51–100 of")
    page.get_by_role("button", name="Reward").click()
    page.wait_for_selector("th[aria-sort=ascending]")
    page.keyboard.press("4")
    page.wait_for_selector("text=second − first")
    assert page.locator("h3", has_text="All 3 runs").count() == 1 and page.locator("h3", has_text="−").count() == 3
    assert page.get_by_role("region", name="All runs").locator("thead th").all_inner_texts()[1:4] == ["first", "second", "third"]
    page.get_by_role("button", name="second").click()
    page.wait_for_selector("text=All 3 runs", state="detached")
    assert page.locator("h3", has_text="−").all_inner_texts() == ["third − first"]
    page.get_by_role("button", name="third").click()
    page.wait_for_selector("text=Choose two or more runs")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Theme: auto").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_claims_of_a_study_with_their_verdicts_and_plots(folder: Path, tab: Tab) -> None:
    page = tab.open(write_report(folder / "first").as_uri(), "study")
    page.wait_for_selector(".chart canvas")
    rows = page.get_by_role("region", name="Claims").locator("tbody tr")
    assert [len(rows.nth(i).locator("th, td").all()) for i in range(3)] == [5, 4, 5]  # a claim stands once beside its tests
    assert "masking helps" in rows.nth(0).inner_text() and "[0.02, 0.2]" in rows.nth(0).inner_text()
    assert page.locator(".verdict").all_inner_texts() == ["replicates", "not run", "does not"]
    assert [page.locator(f".verdict.{name}").count() for name in ("right", "unscored", "wrong")] == [1, 1, 1]
    assert page.locator("figure h3").all_inner_texts() == ["masking helps", "bigger is better"]
    assert page.locator("figure .phases rect").count() == 2 and "0.5 [0.4, 0.6]" in page.locator("figure .phases").inner_text()


def test_a_report_is_used_without_a_server(folder: Path, tab: Tab) -> None:
    page = tab.open(write_report(folder / "first").as_uri(), "trajectories?score=wrong&sort=reward")
    page.wait_for_selector("#results .verdict")
    assert set(page.locator("#results .verdict").all_inner_texts()) == {"wrong"}
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("section.trajectory")
    assert {url.split(":")[0] for url in tab.asked} <= {"file", "about", "data"}


def test_it_is_live_within_two_seconds(tmp_path: Path, tab: Tab) -> None:
    run = write_run(tmp_path / "live")
    viewer = Viewer(str(run), "--port", "8720")
    try:
        page = tab.open(viewer.url)
        page.wait_for_selector("text=live 120")
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "train", "step": 777, "reward": 1.0}\n')
        page.wait_for_selector("text=live 777", timeout=10_000)  # two seconds on an idle core: benchmarks/viewer.py
        page.wait_for_selector("figcaption:has-text('777')", timeout=10_000)
    finally:
        code, err = viewer.end()
    assert code == 0 and "Traceback" not in err


def test_a_trajectory_of_100_000_tokens(tmp_path: Path, tab: Tab) -> None:
    run = write_run(tmp_path / "long")
    row = {"question": {"id": "l", "text": "long?"}, "spans": [{"author": "policy", "text": "word " * 100_000, "token_ids": [1] * 100_000}]}
    (run / "trajectories.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    viewer = Viewer(str(run), "--port", "8730")
    try:
        page = tab.open(viewer.url, "trajectory?n=0")
        page.wait_for_selector("section.trajectory")
        assert "100,000 tokens" in page.locator("main").inner_text()
        assert len(page.locator("main").inner_text()) < 20_000
        page.get_by_role("button", name=re.compile("more characters")).click()
        assert len(page.locator("main").inner_text()) > 100_000
    finally:
        viewer.end()


# ---- harmless


def test_markup_in_every_field_runs_nowhere(tmp_path: Path, tab: Tab) -> None:
    run = complete_run(tmp_path / "attacked")
    attacked(run)
    viewer = Viewer(str(run), "--port", "8740")
    try:
        for base in (viewer.url, write_report(run).as_uri()):
            for where in PAGES if base == viewer.url else PAGES[:3]:
                page = tab.open(base, where)
                assert page.locator("img").count() == 0, where
            assert "alert(1)" in page.locator("main").inner_text()
            page = tab.open(base, f"trajectories?q={ATTACK}".replace("#", ""))
            page.wait_for_selector("#results")
    finally:
        viewer.end()


def test_only_this_machine_is_answered_and_nothing_inline_may_run(viewer: Viewer) -> None:
    status, _, headers = viewer.get("")
    assert status == 200 and headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert viewer.get("api/state", Host="evil.example:8700")[0] == 403
    assert viewer.get("api/nothing")[0] == 400 and "there is no /api/nothing" in viewer.get("api/nothing")[1]
    for path in ("page/../server.py", "page/%2e%2e/server.py", "etc/passwd"):
        assert viewer.get(path)[0] == 404


# ---- asked wrongly


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "zerosearch", *arguments], capture_output=True, text=True, timeout=60)


def test_the_port_is_taken(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        viewer = Viewer(str(folder), "--port", str(port))
        assert 0 < int(viewer.url.rstrip("/").rpartition(":")[2]) - port < 50
        _, err = viewer.end()
    assert f"port {port} is taken" in err and "ssh -L" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("view", "EMPTY"), "is not a run directory"),
        (("view", "EMPTY/missing"), "is not a run directory"),
        (("report", "EMPTY"), "is not a run directory"),
        (("view", "RUN", "--host", "0.0.0.0"), "ssh -L 8321:127.0.0.1:8321"),
        (("view", "RUN", "--text", "--record", "99999"), "has no such trajectory; it has 400"),
        (("view", "RUN", "--question", "x"), "are for --text"),
        (("view", "RUN", "--text", "--score", "good"), "right, wrong or unscored"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line([a.replace("EMPTY", str(tmp_path)).replace("RUN", str(folder / "first")) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


NOBODY = """
import os, sys
import zerosearch.viewer.api, zerosearch.viewer.text
from zerosearch.cli import run
if os.geteuid() == 0:  # who may read everything
    os.seteuid(65534)
sys.exit(run(sys.argv[1:]))
"""


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", NOBODY, *arguments], capture_output=True, text=True, timeout=60)


def test_what_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, run = Path(name), write_run(Path(name) / "run")
        folder.chmod(0o755)
        (folder / "locked").mkdir(mode=0o000)
        for command in ("view", "report"):
            done = as_nobody(command, str(folder / "locked"))
            assert done.returncode == 2 and "permission denied" in done.stderr and done.stderr.count("\n") == 1
        (run / "trajectories.jsonl.gz").chmod(0o000)
        done = as_nobody("view", str(run), "--text")
        assert done.returncode == 2 and "cannot be read (Permission denied)" in done.stderr and done.stderr.count("\n") == 1


def test_in_the_terminal(folder: Path) -> None:
    done = cli("view", str(folder / "first"), "--text", "--score", "right")
    assert done.returncode == 0 and "── policy" in done.stdout and "right, reward 1" in done.stdout and "drawn:" in done.stdout
    assert "\x1b" not in done.stdout  # not a terminal: no colours


def test_a_model_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    row = {"question": {"id": "e", "text": "[red]\x1b]0;owned\x07?"}, "spans": [{"author": "policy", "text": "\x1b[2J[bold]x"}]}
    (run / "trajectories.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    done = cli("view", str(run), "--text")
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout and "[bold]x" in done.stdout and "[red]" in done.stdout
