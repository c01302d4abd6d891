"""One fixed set of rollouts through both trainers: mask, reward and advantages are equal. verl's classes, no Ray. `make test-verl`."""

# verl is not in the developer's environment
# pyright: reportMissingImports=false, reportMissingModuleSource=false
import asyncio
import itertools
import json
import pickle
import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.tiny import byte_level
from zerosearch.config.recipe import load_recipe
from zerosearch.core.errors import GenerationFailed
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.rewards import reward_function
from zerosearch.core.types import Episode, Finish, Generation, Group, Sampling, Trajectory
from zerosearch.data.questions import load_questions
from zerosearch.integrations.verl.files import prepare
from zerosearch.rl.algorithms import ALGORITHMS
from zerosearch.rl.batch import make_batch
from zerosearch.rl.rollouts import with_rewards
from zerosearch.rl.settings import RLConfig
from zerosearch.rl.training_examples import TokenEstimates, make_examples
from zerosearch.rollout.loop import rollout
from zerosearch.runs.directory import RunDirectory

pytestmark = [
    pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed; `make test-verl` brings it"),
    pytest.mark.filterwarnings("ignore"),  # verl's, and those of what it imports
]
SAMPLES, STEP = 4, 7
# what the policy says, turn by turn, sample by sample of each question; "!": its server fails
LINES = [
    [["<search>capital of France</search>", "<answer>Paris</answer>"], ["<answer>Rome</answer>"], ["no tag", "<answer>in Paris</answer>"]],
    [["<search>Rome</search>", "<search>Rome again</search>", "<search>Rome</search>"], ["!"], ["<answer>Rome</answer>"]],
    [["<answer>Oslo</answer>"], ["<answer>Oslo</answer>"], ["<answer>Oslo</answer>"]],  # equal: nothing to learn
]
QUESTIONS = [("a", "capital of France?", ["Paris"]), ("b", "capital of Italy?", ["Rome", "Roma"]), ("c", "capital of Norway?", ["Oslo"])]


class Script:
    """Says what is in LINES: as our Policy (`generate`), and as verl's servers (`server`). The log-probs are a function of the words."""

    def line(self, session: str, turn: int) -> tuple[list[int], list[float]]:
        _, _, question, sample = session.split("#")[0].split("/")
        lines = (LINES["abc".index(question)] + [["<answer>nobody</answer>"]])[int(sample)]
        if lines[turn] == "!":
            raise GenerationFailed("the script says so")
        ids = self.renderer.observation(lines[turn])
        return ids, [-random.Random(f"{lines[turn]}{i}").random() for i in range(len(ids))]

    def __init__(self, tokenizer: Any) -> None:
        self.renderer = TemplateRenderer(tokenizer)
        self.turns: dict[str, itertools.count[int]] = {}

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        ids, logprobs = self.line(session, next(self.turns.setdefault(session, itertools.count())))
        return Generation(tuple(ids), tuple(logprobs), Finish.STOP)

    def close(self, session: str) -> None: ...

    def server(self) -> Any:
        async def generate(request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
            assert sampling_params["include_stop_str_in_output"] and "</search>" in sampling_params["stop"]
            ids, logprobs = self.line(request_id, next(self.turns.setdefault(request_id, itertools.count())))
            return SimpleNamespace(token_ids=ids, log_probs=logprobs, stop_reason="completed", extra_fields={"min_global_steps": 6})

        return SimpleNamespace(generate=generate)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory for verl: three questions, a corpus, an engine that needs no model."""
    folder = tmp_path_factory.mktemp("equal")
    corpus = [{"id": str(i), "title": text, "text": f"{text} is a city"} for i, text in enumerate(["Paris", "Rome", "Oslo"])]
    questions = [{"id": i, "question": q, "golden_answers": golds} for i, q, golds in QUESTIONS]
    for name, table in (("corpus", corpus), ("questions", questions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (folder / "recipe.toml").write_text(f"""
policy.model = "unused"
questions.train = "{folder}/questions.jsonl"
engine = {{kind = "bm25", corpus = "{folder}/corpus.jsonl", k = 2}}
rollout = {{max_turns = 3, max_turn_tokens = 60, max_observation_tokens = 80, max_tokens = 1500}}
rl = {{questions_per_step = 3, group_size = {SAMPLES}, algorithm = "grpo"}}
run = {{out = "{folder}/run", seed = 5, trainer = "verl"}}
""")
    recipe = load_recipe(folder / "recipe.toml")
    prepare(recipe, RunDirectory(folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def ours(run: Path) -> list[Group]:
    from zerosearch.integrations.verl.loop import workplace

    (recipe, settings, environment, *_), policy = workplace(str(run)), Script(byte_level())
    questions = load_questions(recipe.questions.train)

    async def all_of_them() -> list[Group]:
        episodes = [Episode(recipe.run.seed, STEP - 1, i) for i in range(SAMPLES)]
        return [Group(q, tuple([await rollout(q, policy, environment, settings, e) for e in episodes])) for q in questions]

    return [with_rewards(group, reward_function(recipe.rl.reward)) for group in asyncio.run(all_of_them())]


@pytest.fixture(scope="module")
def theirs(run: Path) -> list[Any]:
    """Each rollout through verl's agent loop, from a row of the parquet, in the order of `ours`."""
    from omegaconf import OmegaConf
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    from zerosearch.integrations.verl.loop import SearchLoop

    tokenizer = byte_level()
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm"}}, "data": {}})
    rows = RLHFDataset(str(run / "verl" / "train.parquet"), tokenizer, OmegaConf.create({"filter_overlong_prompts": False}))

    async def all_of_them() -> list[Any]:
        outputs = []
        for row, sample in itertools.product(range(len(rows)), range(SAMPLES)):
            loop = SearchLoop(
                trainer_config=DictConfigWrap(config),
                server_manager=Script(tokenizer).server(),
                tokenizer=tokenizer,
                processor=None,
                dataset_cls=RLHFDataset,
                data_config=DictConfigWrap(config.data),
                hf_model_type="qwen3",
                tools=ToolListWrap([]),
                name="zerosearch",
                run=str(run),
            )
            sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
            outputs.append(await loop.run(sampling, **rows[row], global_steps=STEP, session_id=sample, uid=f"u{row}"))
        return outputs

    return asyncio.run(all_of_them())


def flat(groups: Sequence[Group]) -> list[Trajectory]:
    return [t for group in groups for t in group.trajectories]


def test_the_same_tokens_mask_log_probs_and_reward(ours: list[Group], theirs: list[Any]) -> None:
    batch = make_batch(flat(ours), pad_id=0)
    for b, (trajectory, output) in enumerate(zip(flat(ours), theirs, strict=True)):
        if trajectory.stop_reason.is_failure:
            assert (output.response_mask, output.reward_score, len(output.response_ids)) == ([0], 0.0, 1)
            assert "the script says so" in pickle.loads(output.extra_fields["trajectory"]).cause
            continue
        start, end = len(output.prompt_ids), len(trajectory.token_ids)
        assert tuple(output.prompt_ids + output.response_ids) == trajectory.token_ids[: start + len(output.response_ids)]
        mask = [0] * start + output.response_mask
        assert batch.trained_BT[b, :end].int().tolist()[: len(mask)] == mask and batch.trained_BT[b].sum() == sum(mask)
        logprobs = torch.tensor([0.0] * start + output.response_logprobs)
        assert torch.allclose(batch.old_logprobs_BT[b, : len(mask)], logprobs, atol=1e-6, rtol=0)
        assert output.reward_score == pytest.approx(trajectory.reward, abs=1e-6)
        assert output.response_mask[-1] == 1  # the reward lies on a token that learns
    assert sum(t.stop_reason.is_failure for t in flat(ours)) == 1


def verl_advantages(theirs: list[Any], estimator: str, values: Sequence[Sequence[float]] | None = None) -> list[list[float]]:
    """verl's own code from its loop's outputs to advantages; of each row those of the masked-in tokens."""
    import numpy as np
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl.protocol import DataProto
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    import zerosearch.integrations.verl.estimators  # noqa: F401

    def padded(rows: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    fields = [output.as_dict() for output in theirs]
    table = {"response_mask": padded([f["response_mask"] for f in fields]), "token_level_rewards": padded([f["rm_scores"] for f in fields])}
    if values is not None:  # what the critic says of documents is noise, and must not matter
        full = torch.randn(table["response_mask"].shape, generator=torch.Generator().manual_seed(0))
        full[table["response_mask"].bool()] = torch.tensor([v for row in values for v in row])
        table["values"] = full
    keys = [f"u{i // SAMPLES}_{i % SAMPLES}_0" for i in range(len(fields))]
    uids = np.array([key.split("_")[0] for key in keys], dtype=object)
    data = DataProto(batch=TensorDict(table, batch_size=len(fields)), non_tensor_batch={"uid": uids})
    data = compute_advantage_for_multi_trajectories(
        data, keys, estimator, gamma=0.9, lam=0.8, num_repeat=SAMPLES, config=OmegaConf.create({})
    )
    return [row[mask.bool()].tolist() for row, mask in zip(data.batch["advantages"], data.batch["response_mask"], strict=True)]


@pytest.mark.parametrize("algorithm", ["reinforce", "grpo", "rloo", "reinforce++", "dr_grpo"])
def test_the_same_advantages(ours: list[Group], theirs: list[Any], algorithm: str) -> None:
    pairs = [[(t, TokenEstimates()) for t in group.trajectories] for group in ours]
    taught, _, _ = make_examples(pairs, RLConfig(algorithm=algorithm), ALGORITHMS[algorithm])
    found = verl_advantages(theirs, f"zerosearch_{algorithm}")
    for trajectory, advantages in zip(flat(taught), found, strict=True):
        assert advantages == pytest.approx([trajectory.advantage or 0.0] * len(advantages), abs=1e-6)
    assert any(abs(a) > 0.1 for row in found for a in row)


def test_the_same_advantages_of_ppo(ours: list[Group], theirs: list[Any]) -> None:
    rng = random.Random(3)
    values = [[] if t.stop_reason.is_failure else [rng.random() for _ in range(t.policy_token_count)] for t in flat(ours)]
    told = iter(values)
    pairs = [[(t, TokenEstimates(values=tuple(next(told)))) for t in group.trajectories] for group in ours]
    _, examples, _ = make_examples(pairs, RLConfig(algorithm="ppo", discount=0.9, gae_lambda=0.8), ALGORITHMS["ppo"])
    expected = iter(examples)
    for trajectory, advantages in zip(flat(ours), verl_advantages(theirs, "gae", values), strict=True):
        wanted = () if trajectory.stop_reason.is_failure else next(expected).advantages
        assert advantages == pytest.approx(wanted, abs=1e-6)


def test_what_the_loop_tells_verl(theirs: list[Any]) -> None:
    first, failed = theirs[0].extra_fields, theirs[SAMPLES + 1].extra_fields
    assert first["reward_extra_info"] == {"em": 1.0, "f1": 1.0, "searches": 1, "failed": 0.0}
    assert failed["reward_extra_info"] == {"em": None, "f1": None, "searches": 0, "failed": 1.0}
    assert (first["min_global_steps"], failed["min_global_steps"]) == (6, STEP - 1)
