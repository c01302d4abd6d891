"""The seven question sets by name, and any file. Questions that cannot be scored are left out and reported.

A name is looked up in a folder of the user's (`NAME.jsonl`, `.jsonl.gz` or `.parquet`), else downloaded once from the Hugging Face hub,
where FlashRAG (Jin et al., 2024, arXiv 2405.13576) keeps all seven in one layout: id, question, golden_answers. The splits are the ones
that ZeroSearch and Search-R1 report: test if its answers are public, otherwise dev.
"""

import json
import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from zerosearch.core.errors import BadFile, one_of
from zerosearch.core.types import Question
from zerosearch.data.questions import load_questions

HUB_REPOSITORY = "RUC-NLPIR/FlashRAG_datasets"
HUB_FILES = {
    "nq": "nq/test.jsonl",
    "triviaqa": "triviaqa/test.jsonl",
    "popqa": "popqa/test.jsonl",
    "hotpotqa": "hotpotqa/dev.jsonl",
    "2wiki": "2wikimultihopqa/dev.jsonl",
    "musique": "musique/dev.jsonl",
    "bamboogle": "bamboogle/test.jsonl",
}
FOLDER_VARIABLE = "ZEROSEARCH_BENCHMARKS"
_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The questions that will be asked, in the file's order. `excluded` holds the ids of those that no answer could match."""

    name: str
    source: str
    questions: tuple[Question, ...]
    excluded: tuple[str, ...]

    def fingerprint(self) -> str:
        """Two runs with the same fingerprint asked the same questions with the same golds."""
        asked = [(q.id, q.text, q.golden_answers) for q in self.questions]
        return blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()


def load_benchmark(name: str, folder: str = "", limit: int | None = None, seed: int = 0) -> Benchmark:
    """A set by name or a file by its path; with `limit` a sample of that many, drawn with `seed`.

    `folder` defaults to the environment variable ZEROSEARCH_BENCHMARKS. Raises BadConfig for an unknown name, with the closest match, and
    BadFile for a file that is missing or malformed.
    """
    path = _file_of(name, folder or os.environ.get(FOLDER_VARIABLE, ""))
    excluded: list[str] = []
    questions = load_questions(path, limit=limit, seed=seed, on_unusable=excluded.append)
    if not questions:
        raise BadFile(f"{path}: none of its {len(excluded)} questions has a golden answer that can be matched; check 'golden_answers'.")
    return Benchmark(_short_name(name), str(path), tuple(questions), tuple(excluded))


def _short_name(name: str) -> str:
    base = Path(name).name
    return next((base.removesuffix(ending) for ending in sorted(_ENDINGS, key=len, reverse=True) if base.endswith(ending)), base)


def _file_of(name: str, folder: str) -> Path:
    if "/" in name or name.endswith(_ENDINGS):
        return Path(name)
    found: dict[str, Path] = {}
    if folder:
        if not Path(folder).is_dir():
            raise BadFile(
                f"there is no folder '{folder}' of benchmarks; give one that holds NAME.jsonl with --benchmarks (or ${FOLDER_VARIABLE})."
            )
        found = {_short_name(path.name): path for path in sorted(Path(folder).iterdir()) if path.name.endswith(_ENDINGS)}
    one_of("benchmark", name, {*HUB_FILES, *found})
    return found.get(name) or _downloaded(name)


def _downloaded(name: str) -> Path:
    """The file in the hub's cache, fetched the first time."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        try:
            return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILES[name], repo_type="dataset", local_files_only=True))
        except LocalEntryNotFoundError:
            # one request, 5 seconds: by default, the download tries an unreachable hub for half a minute
            HfApi().dataset_info(HUB_REPOSITORY, timeout=5)
            return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILES[name], repo_type="dataset"))
    except Exception as error:  # offline mode, no route, no name server, a refusal: all mean the same to the user
        raise BadFile(
            f"cannot download the benchmark '{name}' ({HUB_FILES[name]} of {HUB_REPOSITORY}: {type(error).__name__}); "
            f"give a folder that holds {name}.jsonl with --benchmarks DIR, or a file: --benchmark FILE."
        ) from error
