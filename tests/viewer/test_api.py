"""What the page is told: each address, several runs, and what is asked wrongly."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zerosearch.core.errors import BadFile, BadInput
from zerosearch.viewer.api import Api
from zerosearch.viewer.conversations import conversation, spell
from zerosearch.viewer.run_view import find, open_runs


def api_of(*folders: Path) -> Api:
    runs, studies = find(folders)
    api = Api(open_runs(runs), studies)
    api.refresh()
    return api


def test_every_address_answers_in_json(run_dir: Path) -> None:
    api = api_of(run_dir)
    for name in ("state", "overview", "trajectories", "trajectory", "simulator", "compare", "study"):
        json.dumps(api.answer(name, {}), allow_nan=False)
    state = api.answer("state", {})["runs"][0]
    assert (state["key"], state["step"], state["trajectories"], state["notes"]) == ("quickstart", 120, 400, [])


def test_the_overview_has_what_everyone_looks_for(run_dir: Path) -> None:
    charts = {chart["title"]: [s["label"] for s in chart["series"]] for chart in api_of(run_dir).answer("overview", {})["charts"]}
    for title in ("Reward", "Held-out scores, real engine", "Noise rate", "How many searches", "Malformed rollouts", "Failed rollouts",
                  "KL to the reference", "Entropy", "Speed"):  # fmt: skip
        assert title in charts
    assert charts["How many searches"] == ["two"]


def test_seeds_are_one_band_and_other_recipes_are_not(run_dir: Path) -> None:
    for name, seed, learning_rate in (("b", 1, 1), ("c", 0, 2)):
        other = run_dir.parent / name
        shutil.copytree(run_dir, other)
        rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        (other / "metrics.jsonl").write_text("".join(json.dumps(r | ({"kl": 7.0} if "kl" in r else {})) + "\n" for r in rows))
        (other / "config.toml").write_text(f"[rl]\nlearning_rate = {learning_rate}\n[run]\nseed = {seed}\n")
    (run_dir / "config.toml").write_text("[rl]\nlearning_rate = 1\n[run]\nseed = 0\n")
    charts = api_of(run_dir.parent).answer("overview", {})["charts"]
    reward = next(chart for chart in charts if chart["title"] == "Reward")
    assert [(s["style"], s["colour"]) for s in reward["series"]] == [("line", 0), ("low", 0), ("high", 0), ("line", 1)] or [
        (s["style"], s["colour"]) for s in reward["series"]
    ] == [("line", 0), ("line", 1), ("low", 1), ("high", 1)]
    kl = next(chart for chart in charts if chart["title"].startswith("KL"))
    highs = [s for s in kl["series"] if s["style"] == "high"]
    assert len(highs) == 1 and max(v for v in highs[0]["values"] if v is not None) == 7.0


def test_the_planned_curve_reaches_beyond_what_was_run(run_dir: Path) -> None:
    (run_dir / "config.toml").write_text(
        '[policy]\nmodel = "m"\n[questions]\ntrain = "q"\n[engine]\nurl = "u"\n[curriculum]\nend = 0.4\n'
        '[rl]\nsteps = 200\n[run]\nout = "o"\n'
    )
    noise = next(chart for chart in api_of(run_dir).answer("overview", {})["charts"] if chart["title"] == "Noise rate")
    planned = next(s["values"] for s in noise["series"] if s["label"] == "planned")
    assert noise["x"][-1] == 200 and planned[0] == 0.0 and 0.39 < planned[-1] < 0.4  # before the last step, not after it


def test_compare_finds_the_questions_that_one_answers(run_dir: Path, make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(0, 0, "evaluate", random.Random(0))
    for name, right in (("a", (1, 1, 0, 0)), ("b", (1, 0, 1, 1))):
        folder = run_dir.parent / "pair" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("")
        rows = [
            record | {"question": {"id": str(i), "text": f"q{i}", "golden_answers": ["x"]}, "scores": {"em": em, "f1": em, "cover_em": em}}
            for i, em in enumerate(map(float, right))
        ]
        (folder / "trajectories.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    (pair,) = api_of(run_dir.parent / "pair").answer("compare", {})["pairs"]
    assert (pair["n"], pair["both"], pair["neither"]) == (4, 1, 0)
    assert [row["question"] for row in pair["only_a"]["rows"]] == ["q1"]
    assert [row["question"] for row in pair["only_b"]["rows"]] == ["q2", "q3"]
    em = next(row for row in pair["rows"] if row["label"].startswith("EM"))
    assert em["difference"] == 0.25 and em["low"] <= 0.25 <= em["high"] and 0 < em["p"] <= 1


def test_three_runs_are_one_table_and_every_pair(run_dir: Path, make_trajectory: Callable[..., dict[str, Any]]) -> None:
    """Of four questions all three were asked two, and one of these is another question in the third run."""
    record = make_trajectory(0, 0, "evaluate", random.Random(0))
    for name, asked in (("a", {"1": 1.0, "2": 0.0, "3": 1.0}), ("b", {"1": 0.0, "2": 1.0, "4": 1.0}), ("c", {"1": 1.0, "2": 1.0})):
        folder = run_dir.parent / "three" / name
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text('{"seed": 7}')
        (folder / "summary.json").write_text(
            json.dumps({"seed": 7, "n": 3, "cover_em": {"mean": 0.5, "low": 0.1, "high": 0.9}} if name == "b" else {})
        )
        rows = [
            record | {"question": {"id": i, "text": f"{'other' if name + i == 'c2' else 'q'}{i}", "golden_answers": ["x"]}}
            | {"scores": {"em": em, "f1": em, "cover_em": em}}
            for i, em in asked.items()
        ]  # fmt: skip
        (folder / "trajectories.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    found = api_of(run_dir.parent / "three").answer("compare", {})
    together = found["together"]
    assert (together["runs"], together["n"], len(found["pairs"])) == (["a", "b", "c"], 1, 3)
    rows = {row["label"]: [figure and figure["mean"] for figure in row["figures"]] for row in together["rows"]}
    assert rows["EM, held out"] == [1.0, 0.0, 1.0] and rows["Cover EM, in its summary"] == [None, 0.5, None]
    assert not any(label.startswith("Seed") for label in rows)  # a setting is no figure
    assert api_of(run_dir.parent / "three").answer("compare", {"run": ["a", "b"]})["together"] is None


def test_a_study_is_a_table(tmp_path: Path) -> None:
    claim = {"id": "mask", "claim": "masking helps", "paper": 1.53, "ours": 0.12, "interval": [0.02, 0.2], "n": 5, "verdict": "reproduced",
             "plot": {"x": [1, 2], "series": [{"label": "on", "values": [0.1, 0.2]}, {"label": "bad", "values": [1]}]}}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps({"claims": [claim, {}]}))
    (study,) = api_of(tmp_path).answer("study", {})["studies"]
    first, empty = study["claims"]
    assert (first["ours"], first["low"], first["verdict"]) == ("0.12", 0.02, "reproduced")
    assert [s["label"] for s in first["chart"]["series"]] == ["on"]
    assert (empty["id"], empty["claim"], empty["chart"]) == ("2", "", None)


@pytest.mark.parametrize("text", ['{"arms": {"a": {"0": {"em": 0.5}}}}', "[]", '{"claims": [{"id":'])
def test_a_study_of_an_older_version_or_cut_says_what_writes_its_claims(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    (study,) = api_of(tmp_path).answer("study", {})["studies"]
    assert study["claims"] == [] and "zerosearch study --page-only" in study["about"]


def test_an_evaluation_is_looked_at_like_a_run(run_dir: Path) -> None:
    (run_dir / "config.toml").unlink()
    (run_dir / "metrics.jsonl").unlink()
    (run_dir / "evaluation.json").write_text('{"benchmark": "nq"}')
    (run_dir / "summary.json").write_text('{"n": 9, "em": {"mean": 0.5, "low": 0.2, "high": 0.8}, "by_type": {"a": {"em": 1.0}}}')
    api = api_of(run_dir)
    (summary,) = api.answer("overview", {})["summaries"]
    assert [(row["label"], row["base"], row["trained"]["mean"]) for row in summary["rows"]] == [("EM", None, 0.5)]
    assert api.answer("state", {})["runs"][0]["kind"] == "evaluation" and api.answer("trajectories", {})["total"] == 400


def test_the_simulator_beside_the_real_engine(run_dir: Path) -> None:
    document = {"title": "T", "text": "born in Velmar"}
    example = {"question": "Where?", "golden_answers": ["Velmar"], "query": "born", "useful": [document], "noisy": [], "real": [document]}
    figures = {"answer_in_useful": {"mean": 0.9, "low": 0.8, "high": 1.0, "n": 3}, "answer_in_useful_seen": None}
    (run_dir / "card.json").write_text(json.dumps({"figures": figures, "examples": [example]}))
    (card,) = api_of(run_dir).answer("simulator", {})["cards"]
    (figure,) = card["figures"]  # what could not be measured is left out
    assert (figure["label"], figure["value"], figure["n"]) == ("Useful replies that hold the answer", 0.9, 3)
    replies = card["examples"][0]["replies"]
    assert list(replies) == ["useful", "noisy", "real"]
    assert replies["real"][0]["pieces"] == [("born in ", ""), ("Velmar", "gold")]


# ---- asked wrongly


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("nothing", {}, "there is no /api/nothing"),
        ("overview", {"run": ["x"]}, "there is no run 'x'; choose one of: quickstart"),
        ("trajectory", {"n": ["1.5"]}, "not a whole number"),
        ("trajectory", {"n": ["9" * 40]}, "not a whole number"),
        ("trajectory", {"n": ["100000"]}, "has no trajectory 100000; it has 400"),
        ("trajectories", {"score": ["x"]}, "right, wrong or unscored"),
    ],
)
def test_wrong_words(run_dir: Path, name: str, words: dict[str, list[str]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        api_of(run_dir).answer(name, words)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is not a run directory"):
        find([tmp_path])
    with pytest.raises(BadFile, match="is not a run directory"):
        find([tmp_path / "missing"])


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    api = api_of(tmp_path)
    assert api.answer("overview", {})["charts"] == [] and api.answer("trajectories", {})["total"] == 0
    assert "no trajectories yet" in api.answer("state", {})["runs"][0]["notes"][0]


def test_files_that_are_cut_are_shown_and_said(run_dir: Path) -> None:
    metrics, trajectories = run_dir / "metrics.jsonl", run_dir / "trajectories.jsonl.gz"
    metrics.write_bytes(b"{broken}\n" + metrics.read_bytes()[:-30])
    trajectories.write_bytes(trajectories.read_bytes()[:-40])
    (run_dir / "summary.json").write_text("[]")
    (run_dir / "config.toml").write_text("= broken")
    api = api_of(run_dir)
    (state,) = api.answer("state", {})["runs"]
    assert 380 < state["trajectories"] < 400
    said = "\n".join(state["notes"])
    assert (
        "Line 1 of metrics.jsonl" in said
        and "last line of metrics.jsonl is incomplete" in said
        and "trajectories.jsonl.gz ends in the middle" in said
    )
    assert api.answer("overview", {})["charts"]


def test_it_follows_a_run_that_is_written(run_dir: Path) -> None:
    api = api_of(run_dir)
    before = api.answer("state", {})["version"]
    assert api.answer("state", {})["version"] == before
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 121, "reward": 1.0}\n')
    assert api.answer("state", {})["version"] != before
    assert api.answer("overview", {})["charts"][0]["x"][-1] == 121


def test_a_trajectory_of_100_000_tokens(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(0, 0, "train", random.Random(0))
    record["spans"] = [{"author": "policy", "text": "x " * 100_000, "token_ids": [5] * 100_000, "logprobs": [-0.5] * 100_000}]
    shown = conversation(record)
    assert shown["spans"][0]["token_count"] == 100_000 and len(shown["spans"][0]["pieces"][0][0]) == 199_999


# ---- conversations


def test_golds_are_marked_as_whole_words_and_tags_too(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(120, 0, "train", random.Random(0))
    record["question"]["golden_answers"] = ["New York", "---"]
    record["spans"] = [{"author": "policy", "text": "<answer>NEW\nYORK & New Yorkers</answer>"}]
    (span,) = conversation(record)["spans"]
    assert span["pieces"] == [("<answer>", "tag"), ("NEW\nYORK", "gold"), (" & New Yorkers", ""), ("</answer>", "tag")]
    assert not span["masked"] and span["tokens"] is None


def test_replies_carry_their_search_and_hints_do_not(make_trajectory: Callable[..., dict[str, Any]]) -> None:
    record = make_trajectory(120, 0, "train", random.Random(0))
    record["spans"].insert(2, {"author": "environment", "text": "That was not a legal action."})
    shown = conversation(record)
    queries = [span["search"] and span["search"]["query"] for span in shown["spans"] if span["author"] == "environment"]
    assert queries == [None, record["searches"][0]["query"], record["searches"][1]["query"]] and not shown["unshown_searches"]
    assert [span["masked"] for span in shown["spans"]] == [True, False, True, True, False, True, False][: len(shown["spans"])]
    assert not conversation(record, masked=False)["spans"][2]["masked"]


def test_tokens_are_spelled_as_the_policy_wrote_them(tmp_path: Path, make_trajectory: Callable[..., dict[str, Any]]) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, unk_token="!"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    words.save(str(tmp_path / "tokenizer.json"))
    names = [
        chr(c) if 33 <= c < 127 else pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(chr(c))[0][0] for c in (72, 105)
    ]
    ids = [words.token_to_id(c) for c in [*names, "Ã", "©"]]
    assert spell(tmp_path / "tokenizer.json", ids) == ["H", "i", "", "é"]
    assert spell(tmp_path / "tokenizer.json", [10**6]) is None
    record = make_trajectory(0, 0, "train", random.Random(0))
    record["spans"] = [{"author": "policy", "text": "Hié", "token_ids": ids, "logprobs": [-1, None, -2, -3]}]
    (span,) = conversation(record, tmp_path / "tokenizer.json")["spans"]
    assert span["tokens"] == {"texts": ["H", "i", "", "é"], "logprobs": [-1, None, -2, -3], "advantages": None}
