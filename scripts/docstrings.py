#!/usr/bin/env python3
"""The Python standard library's docstrings as a corpus, with questions about them: a field of its own to make a simulator of.

    python scripts/docstrings.py --out runs/docstrings [--modules json,heapq,…] [--passages 2000]

Writes corpus.jsonl (a passage for each documented function and class), questions.jsonl (which function does this? from the first
sentence of a docstring that names it nowhere) and rollouts.jsonl. The last stands in for a policy where there is none: for each
question a search that BM25 answers well, one for the module alone, and an answer; a real policy is `zerosearch collect --policy`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from zerosearch.core.types import Question, SearchRequest
from zerosearch.engines.bm25 import BM25Engine
from zerosearch.rollout.grammar import render_information

# modules that importing does nothing but define: no window is opened, no network is touched
MODULES = (
    "argparse ast asyncio base64 bisect calendar cmath codecs collections configparser contextlib copy csv dataclasses datetime decimal "
    "difflib dis email.message enum fileinput fnmatch fractions functools gettext glob gzip hashlib heapq hmac html http.client inspect "
    "io ipaddress itertools json linecache locale logging lzma mailbox math mimetypes numbers operator os os.path pathlib pickle "
    "pkgutil platform plistlib pprint queue random re sched secrets selectors shelve shlex shutil signal socket sqlite3 ssl stat "
    "statistics string struct subprocess symtable tarfile tempfile textwrap threading timeit tokenize trace traceback types typing "
    "unicodedata unittest urllib.parse urllib.request uuid warnings wave weakref xml.etree.ElementTree zipfile zlib"
).split()


def passages(modules: list[str]) -> Iterator[tuple[str, str, str]]:
    """(module, name, docstring in one line) of everything public that is documented."""
    for module_name in modules:
        module = importlib.import_module(module_name)
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
                continue
            text = " ".join((inspect.getdoc(value) or "").split())
            if len(text.split()) >= 6:
                yield module_name, name, text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--modules", default=",".join(MODULES))
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = list({(m, n): (m, n, t) for m, n, t in passages(options.modules.split(","))}.values())
    found = sorted(random.Random(options.seed).sample(found, min(options.passages, len(found))))
    options.out.mkdir(parents=True, exist_ok=True)
    corpus = options.out / "corpus.jsonl"
    rows = [{"id": f"{m}.{n}", "title": m, "text": f"{n} of {m}: {' '.join(t.split()[:60])}"} for m, n, t in found]
    write(corpus, rows)
    questions = [
        Question(f"{m}.{n}", f"Which function or class of Python's {m} is described so: {first}", (n,))
        for m, n, t in found
        if len((first := re.split(r"(?<=[.!?])\s", t)[0]).split()) >= 5 and n.lower() not in first.lower()
    ]
    write(options.out / "questions.jsonl", [{"id": q.id, "question": q.text, "golden_answers": list(q.golden_answers)} for q in questions])
    rollouts = asyncio.run(rollouts_of(questions, BM25Engine(corpus)))
    write(options.out / "rollouts.jsonl", rollouts)
    print(f"{len(rows)} passages, {len(questions)} questions in {options.out}", file=sys.stderr)


async def rollouts_of(questions: list[Question], engine: BM25Engine) -> list[dict[str, object]]:
    rollouts: list[dict[str, object]] = []
    for question in questions:
        module, _, described = question.text.removeprefix("Which function or class of Python's ").partition(" is described so: ")
        response = ""
        for query in (f"python {module}", f"{module} {described}"):
            result = await engine.search(SearchRequest(query, question, 5))
            response += f"<search>{query}</search>{render_information(result.documents)}"
        row = {"id": question.id, "question": question.text, "golden_answers": list(question.golden_answers), "stop_reason": "answered"}
        rollouts.append({**row, "response": f"{response}<answer>{question.golden_answers[0]}</answer>"})
    return rollouts


def write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
