"""Templates: filled once, replaceable by files, checked when they are read."""

from pathlib import Path

import pytest

from zerosearch.core.errors import BadConfig, BadFile
from zerosearch.core.templates import fill
from zerosearch.engines.prompts import SIMULATOR_PROMPTS, simulator_prompt
from zerosearch.rollout.prompts import MICRO, POLICY_PROMPTS, SEARCH, policy_prompt


def test_fill_replaces_each_name_once() -> None:
    assert fill("{a} {b} {a} {c} {}", {"a": 1, "b": "{a}"}) == "1 {a} 1 {c} {}"
    assert fill("{a}", {"a": r"\1 \g<0>"}) == r"\1 \g<0>"  # a value is no pattern


def test_built_in_prompts_have_their_placeholders() -> None:
    assert all("{question}" in prompt.task for prompt in POLICY_PROMPTS.values())
    assert all(f"{{{name}}}" in text for text in SIMULATOR_PROMPTS.values() for name in ("question", "golden_answers", "query", "quality"))


def test_prompts_by_name_and_by_file(tmp_path: Path) -> None:
    assert policy_prompt("micro") is MICRO
    assert simulator_prompt("web") == SIMULATOR_PROMPTS["web"]
    task = tmp_path / "task.txt"
    task.write_text("Frage: {question} – los!", encoding="utf-8")
    assert policy_prompt(str(task)).task == "Frage: {question} – los!"
    assert policy_prompt(str(task)).malformed == SEARCH.malformed
    task.write_text("{query} {quality}")
    assert simulator_prompt(str(task)) == "{query} {quality}"


@pytest.mark.parametrize(("content", "lacks"), [(b"", "{question}"), (b"{quest\xffion}", "UTF-8")])
def test_bad_policy_files(tmp_path: Path, content: bytes, lacks: str) -> None:
    file = tmp_path / "task.txt"
    file.write_bytes(content)
    with pytest.raises((BadConfig, BadFile), match=lacks) as caught:
        policy_prompt(str(file))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_bad_names(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="unknown prompt 'serach'; did you mean 'search'?"):
        policy_prompt("serach")
    with pytest.raises(BadConfig, match="unknown simulator template 'mikro'; did you mean 'micro'?"):
        simulator_prompt("mikro")
    for nowhere in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(BadFile, match=f"cannot read the prompt file '{nowhere}'"):
            policy_prompt(str(nowhere))
    (tmp_path / "half.txt").write_text("{query}")
    with pytest.raises(BadConfig, match=r"lacks \{quality\}"):
        simulator_prompt(str(tmp_path / "half.txt"))
