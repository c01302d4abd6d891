"""A recipe of a short run in the tiny world (`lab/tiny.py`) that the end-to-end tests share."""

from pathlib import Path


def micro_recipe(folder: Path, **engine: object) -> str:
    """TOML of a run of three steps on `tiny_world(folder)`, by default against BM25; `engine` gives another [engine] section."""
    section = engine or {"kind": "bm25", "corpus": str(folder / "corpus.jsonl")}
    lines = "\n".join(f"{key} = {value!r}" for key, value in section.items())
    return f"""
[policy]
model = '{folder / "policy"}'
device = 'cpu'
[questions]
train = '{folder / "questions.jsonl"}'
[engine]
{lines}
[rollout]
prompt = 'micro'
max_turns = 3
max_turn_tokens = 24
max_observation_tokens = 60
max_tokens = 200
[rl]
steps = 3
questions_per_step = 2
group_size = 3
minibatches = 2
learning_rate = 1e-3
[run]
out = '{folder / "run"}'
seed = 3
workers = 1
checkpoint_every = 1
"""
