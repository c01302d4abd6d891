"""The files around the code that repeat something of it say the same."""

import re
from pathlib import Path

import yaml

from zerosearch.core.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version() -> None:
    assert yaml.safe_load(read("CITATION.cff"))["version"] == __version__
    assert f"## [{__version__}]" in read("CHANGELOG.md")


def test_contributing_has_every_letter_of_tensor_names() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    used = {letter for axes in re.findall(r"\b[a-z][a-z_]*_([A-Z1]{1,5})\b", source) for letter in axes if axes != "1"}
    listed = re.findall(r"^\| (\S) \|", read("CONTRIBUTING.md"), re.MULTILINE)
    assert listed == sorted(listed, key=lambda letter: (letter == "1", letter)) and used <= set(listed)


def test_contributing_has_every_package() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "zerosearch").glob("*/__init__.py")}
    rooms = read("CONTRIBUTING.md").partition("## Rooms")[2].partition("\n## ")[0]
    assert packages <= set(re.findall(r"`(\w+)/`", rooms))


def test_the_workflow_calls_ci_run() -> None:
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["tests"]["steps"]
    assert steps[-1] == {"run": ".ci/run"} and steps[1]["with"]["python-version"] == "3.11"
