"""Recipes: TOML in, TOML out, and one helpful line for whatever is wrong with one."""

from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosearch import config
from zerosearch.config.recipe import Recipe, built_in_recipes, load_recipe, make_recipe, to_toml
from zerosearch.core.curriculum import SCHEDULES
from zerosearch.core.errors import BadConfig, BadFile, BadInput
from zerosearch.rl.algorithms import ALGORITHMS

MINIMAL = """\
[policy]
model = "runs/base"

[questions]
train = "questions.jsonl"

[engine]
url = "http://localhost:8000/v1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(MINIMAL)
    return path


def read_back(recipe: Recipe, folder: Path) -> Recipe:
    (folder / "config.toml").write_text(to_toml(recipe), encoding="utf-8")
    return load_recipe(folder / "config.toml")


# ---- what is right


def test_a_minimal_recipe_has_the_defaults(file: Path) -> None:
    recipe = load_recipe(file)
    assert recipe.policy.model == "runs/base" and recipe.engine.url == "http://localhost:8000/v1"
    assert recipe.engine.kind == "simulated" and recipe.evaluation_engine is None and recipe.rl.algorithm == "grpo"


def test_toml_out_and_in_again_is_the_same_recipe(file: Path, tmp_path: Path) -> None:
    overrides = ["evaluation_engine.kind=bm25", "evaluation_engine.corpus=c.jsonl", "rl.learning_rate=3e-7", "rl.mask_observations=false"]
    recipe = load_recipe(file, overrides)
    assert read_back(recipe, tmp_path) == recipe
    assert "learning_rate = 3e-07" in to_toml(recipe) and "kl_coefficient = 0.001" in to_toml(recipe)  # defaults are written too
    assert read_back(load_recipe(file), tmp_path) == load_recipe(file)


@pytest.mark.parametrize(
    "text", ['say "hi"', "back\\slash\\", "tab\tline\nreturn\r", "Žižek – 東京 🗼", "\x00\x1f\x7f\x85\u2028", "#[a] = 1", "'''"]
)
def test_any_text_survives(tmp_path: Path, text: str) -> None:
    table = {"policy": {"model": text}, "questions": {"train": text}, "engine": {"url": text}}
    assert read_back(make_recipe(table), tmp_path) == make_recipe(table)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), st.floats(1e-300, 1e300), st.integers(0, 10**30))
def test_any_value_survives(tmp_path_factory: pytest.TempPathFactory, text: str, number: float, count: int) -> None:
    table = {"policy": {"model": text}, "questions": {"train": "q"}, "engine": {"url": "u"}, "rl": {"clip": number}, "run": {"seed": count}}
    assert read_back(make_recipe(table), tmp_path_factory.getbasetemp()) == make_recipe(table)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("rl.steps=7", 7),
        ("rl.steps = 1_000", 1000),
        ("rl.clip=1", 1.0),
        ("rl.learning_rate=1e-6", 1e-6),
        ("rl.mask_observations=false", False),
        ("rl.mask_observations=True", True),
        ("policy.model=Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B"),
        ("policy.model=./with space", "./with space"),
        ("policy.model=../a=b.c", "../a=b.c"),
        ('policy.model="quoted"', "quoted"),
        ("policy.model='single'", "single"),
        ('policy.model="half', '"half'),
        ("run.out = runs/spaces around", "runs/spaces around"),
        ("run.out=2024", "2024"),
        ("run.out=2024-01-01", "2024-01-01"),
        ("run.out=1e3", "1e3"),
        ("run.out=true", "true"),
        ("questions.held_out=", ""),
    ],
)
def test_overrides(file: Path, override: str, value: object) -> None:
    found: Any = load_recipe(file, [override])
    for name in override.partition("=")[0].strip().split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


def test_overrides_win_over_the_file_and_over_earlier_ones(file: Path) -> None:
    assert load_recipe(file, ["policy.model=a", "policy.model=b", "rl={steps=3, clip=0.1}"]).policy.model == "b"
    rl = load_recipe(file, ["rl={steps=3, clip=0.1}", "rl.steps=4"]).rl
    assert (rl.steps, rl.clip) == (4, 0.1)


@pytest.mark.parametrize("settings", [["engine.record=tape.jsonl"], ["run.workers=1"]])
def test_a_budget_of_several_workers_is_counted_in_one_place(file: Path, settings: list[str]) -> None:
    assert load_recipe(file, ["engine.max_searches=5", *settings]).engine.max_searches == 5


def test_a_reward_of_several_terms(file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(file, ["rl.reward={f1=1.0, format=0.1, searches=-0.05}"])
    assert recipe.rl.reward == {"f1": 1.0, "format": 0.1, "searches": -0.05}
    assert read_back(recipe, tmp_path) == recipe and load_recipe(file).rl.reward == "f1"
    assert load_recipe(file, ["rl.reward.f1=1", "rl.reward.length=-0.2"]).rl.reward == {"f1": 1, "length": -0.2}


def test_every_algorithm_can_be_named(file: Path) -> None:
    for name in ALGORITHMS:
        assert load_recipe(file, [f"rl.algorithm={name}"]).rl.algorithm == name


def test_curriculum(file: Path) -> None:
    recipe = load_recipe(file, ["rl.steps=2", "curriculum.start=0.25", "curriculum.end=0.5", "curriculum.base=4"])
    assert recipe.noise_curriculum().noise_rate(1) == pytest.approx(0.25 + 0.25 / 3)
    for schedule in SCHEDULES:
        assert load_recipe(file, [f"curriculum.schedule={schedule}"]).curriculum.schedule == schedule


# ---- what is wrong


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # a key that does not exist
        ("rl.stepz=3", "unknown recipe key 'rl.stepz'; did you mean 'rl.steps'?"),
        ("rl.seed=3", "unknown recipe key 'rl.seed'; did you mean 'run.seed'?"),
        ("steps=3", "unknown recipe key 'steps'; did you mean 'rl.steps'?"),
        ("policy.k=3", "unknown recipe key 'policy.k'; did you mean 'engine.k' or 'evaluation_engine.k'?"),
        ("polcy.model=x", "unknown recipe key 'polcy'; did you mean 'policy'?"),
        ("policy.xyzzy=1", "unknown recipe key 'policy.xyzzy'; choose one of: policy.model, policy.dtype, policy.device, policy.lora"),
        ("xyzzy=1", "unknown recipe key 'xyzzy'; choose one of: policy, questions, engine, "),
        # a value of the wrong type
        ("rl.steps=many", "recipe key 'rl.steps': input should be a valid integer, unable to parse string as an integer; received 'many'."),
        ("rl.steps=1.5", "recipe key 'rl.steps': input should be a valid integer, got a number with a fractional part; received 1.5."),
        ("rl.steps=[1, 2]", "recipe key 'rl.steps': input should be a valid integer; received [1, 2]."),
        ("rl.steps={a = 1}", "recipe key 'rl.steps': input should be a valid integer; received a section."),
        ("rl.steps.a=1", "recipe key 'rl.steps': input should be a valid integer; received a section."),
        ("rl=3", "recipe key 'rl' is a section; set a key in it, for instance rl.algorithm=…; received 3."),
        ("evaluation_engine=bm25", "recipe key 'evaluation_engine' is a section; set a key in it, for instance evaluation_engine.kind=…;"),
        # a value out of range
        ("rl.steps=0", "recipe key 'rl.steps': input should be greater than or equal to 1; received 0."),
        ("rl.clip=-1", "recipe key 'rl.clip': input should be greater than 0; received -1."),
        ("rl.learning_rate=inf", "recipe key 'rl.learning_rate': input should be a finite number; received inf."),
        ("rl.learning_rate=nan", "recipe key 'rl.learning_rate': input should be a finite number; received nan."),
        ("curriculum.end=1.5", "recipe key 'curriculum.end': input should be less than or equal to 1; received 1.5."),
        ("policy.dtype=float16", "recipe key 'policy.dtype': input should be 'float32' or 'bfloat16'; received 'float16'."),
        ("run.out=", "recipe key 'run.out': string should have at least 1 character; received ''."),
        # a name of something that does not exist
        ("rl.algorithm=grop", "unknown algorithm 'grop'; did you mean 'grpo'?"),
        ("curriculum.schedule=papr", "unknown curriculum 'papr'; did you mean 'paper'?"),
        ("rl.algorithm=reinforce+", "unknown algorithm 'reinforce+'; did you mean 'reinforce++'?"),
        ("rl.reward=cover", "unknown reward 'cover'; did you mean 'cover_em'?"),
        ("rl.reward={f2=1}", "unknown reward 'f2'; did you mean 'f1'?"),
        ("rl.reward={f1=0}", "rl.reward has no term with a weight other than 0; name one, for instance rl.reward=f1."),
        (
            "rl.reward=3",
            "recipe key 'rl.reward': input should be a term's name or a table of weights such as {f1 = 1.0, format = 0.1}, rec",
        ),
        ("rl.reward={f1=inf}", "recipe key 'rl.reward': input should be a term's name or a table of weights such as {f1 = 1.0, format"),
        ("rollout.prompt=serach", "unknown prompt 'serach'; did you mean 'search'?"),
        ("rollout.prompt=none.txt", "cannot read the prompt file 'none.txt' (No such file or directory);"),
        ("engine.template=wbe", "unknown simulator template 'wbe'; did you mean 'web'?"),
        # values that contradict each other
        ("rl.group_size=1", "recipe key 'rl': group_size = 1 leaves GRPO nothing to compare; choose at least 2."),
        ("engine.kind=bm25", "recipe key 'engine': kind 'bm25' needs `corpus` (a JSONL file with id, title and text)."),
        ("engine.url=", "recipe key 'engine': kind 'simulated' needs `model` (a folder or hub id) or `url` ("),
        ("rl={algorithm='reinforce', epochs=2}", "recipe key 'rl': epochs = 2, but the loss of REINFORCE does not correct for a policy"),
        ("rl={algorithm='ppo', critic_coefficient=0}", "recipe key 'rl': critic_coefficient = 0 leaves PPO without a critic; choose"),
        ("rl.critic_warmup_steps=3", "recipe key 'rl': critic_warmup_steps = 3, but GRPO has no critic to warm up; choose 0, or PPO."),
        ("rl={algorithm='ppo', steps=3, critic_warmup_steps=3}", "recipe key 'rl': critic_warmup_steps = 3 of 3 steps leave the policy"),
        (
            "rl.reference=none",
            "recipe key 'rl': kl_coefficient = 0.001 needs a reference; choose kl_coefficient = 0, or reference = 'auto'.",
        ),
        ("rl.reference=lora_off", "rl.reference = 'lora_off', but policy.lora_rank = 0; choose a rank, or rl.reference=copy."),
        ("guards.on_nonfinite=warn", "recipe key 'guards.on_nonfinite': input should be 'skip', 'rollback' or 'stop'; received 'warn'."),
        ("evaluation_engine.k=3", "recipe key 'evaluation_engine': kind 'simulated' needs `model`"),
        ("engine.max_searches=5", "engine.max_searches and engine.max_usd would count in each worker by itself; add engine.record=FILE"),
        # no override at all
        ("rl.steps", "cannot read the override 'rl.steps'; write section.key=value, for instance rl.steps=100."),
        ("=3", "cannot read the override '=3'; write section.key=value"),
        ("rl..steps=3", "cannot read the override 'rl..steps=3'; write section.key=value"),
        ("policy.model.x=3", "cannot set 'policy.model.x': 'model' is a value, not a section."),
    ],
)
def test_one_line_that_helps(file: Path, override: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(file, [override])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_long_value_is_shown_in_part(file: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        load_recipe(file, [f"rl.clip={'x' * 10_000}"])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("", "the recipe lacks 'policy'; add it to the file, or give policy.model=… on the command line."),
        ("[policy]", "the recipe lacks 'policy.model'; add it to the file, or give policy.model=… on the command line."),
        ("[polcy]\nmodel = 'x'", "unknown recipe key 'polcy'; did you mean 'policy'?"),  # not: the recipe lacks 'policy'
        ("policy = 'x'", "recipe key 'policy' is a section; set a key in it, for instance policy.model=…; received 'x'."),
    ],
)
def test_an_incomplete_file(file: Path, toml: str, message: str) -> None:
    file.write_text(toml)
    with pytest.raises(BadConfig) as caught:
        load_recipe(file)
    assert str(caught.value) == message


@pytest.mark.parametrize("content", [b"[policy", b"model 'x'", b"a = 1\na = 2", b'a = "\xff"'])
def test_no_toml(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        load_recipe(file)
    assert str(caught.value).startswith(f"the recipe '{file}' is not valid TOML: ") and "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadFile) as caught:
            load_recipe(path)
        assert str(caught.value).startswith(f"cannot read the recipe '{path}' (") and "`zerosearch recipes`" in str(caught.value)


def test_a_built_in_recipe_by_its_name(tmp_path: Path) -> None:
    folder = Path(config.__file__).parents[1] / "recipes"
    names = {file.stem if file.suffix == ".toml" else file.name for file in folder.rglob("*.*")}
    assert set(built_in_recipes()) == names and "hotpotqa_bm25" in names and "slurm.sbatch" in names
    assert load_recipe("hotpotqa_bm25", ["rl.steps=7"]).rl.steps == 7
    for wrong in ("hotpotqa_bm52", "recipes/hotpotqa_bm25.toml"):
        with pytest.raises(BadFile, match=f"cannot read the recipe '{wrong}' .*; did you mean 'hotpotqa_bm25'"):
            load_recipe(wrong)


def test_a_file_goes_before_a_built_in_recipe(file: Path, tmp_path: Path) -> None:
    with chdir(tmp_path):
        Path("hotpotqa_bm25").write_text(file.read_text())
        assert load_recipe("hotpotqa_bm25") == load_recipe(file)


def test_engine_verl_is_a_word_for_the_trainer_and_settings_of_verl_s_nest(file: Path, tmp_path: Path) -> None:
    words = ["engine=verl", "cluster.nodes=2", 'cluster.verl.trainer.logger=["console","file"]', "cluster.verl.trainer.device=cpu"]
    recipe = load_recipe(file, words)
    assert recipe.run.trainer == "verl" and recipe.cluster.gpus == 16
    assert recipe.cluster.verl == {"trainer": {"logger": ["console", "file"], "device": "cpu"}}
    again = tmp_path / "again.toml"
    again.write_text(to_toml(recipe))
    assert load_recipe(again) == recipe
    assert load_recipe(again, ["engine=embedded"]).run.trainer == "embedded"
