import asyncio
from pathlib import Path

import pytest

from zerosearch.core.errors import BadConfig, ModelNotUsable
from zerosearch.core.interfaces import Chat, Policy
from zerosearch.core.types import Sampling
from zerosearch.models.local import LocalModel, chosen_device


def test_it_is_a_policy_and_a_chat(micro: Path) -> None:
    model = LocalModel.load(str(micro / "policy"), "cpu")
    assert isinstance(model, Policy) and isinstance(model, Chat)
    text = "<think> i need to find the birthplace of Zurzan Garhan </think> <search> born </search>"
    assert model.renderer.decode(model.renderer.observation(text)) == text
    assert model.renderer.prompt("where")[0] == model.tokenizer.bos_token_id
    reply = asyncio.run(model.complete("Question: who", Sampling(8, seed=1)))
    assert isinstance(reply, str) and "<eos>" not in reply
    assert reply == asyncio.run(model.complete("Question: who", Sampling(8, seed=1)))


@pytest.mark.parametrize("lost, named", [("config.json", "config.json"), ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer")])
def test_a_folder_that_lacks_something_is_told_in_one_line(micro: Path, tmp_path: Path, lost: str, named: str) -> None:
    for file in (micro / "policy").iterdir():
        if file.name != lost and not (lost.startswith("tokenizer") and file.name.startswith("tokenizer")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelNotUsable, match=named) as caught:
        LocalModel.load(str(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_missing_folder_and_an_unreachable_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelNotUsable, match="no folder"):
        LocalModel.load(str(tmp_path / "nothing"))
    with pytest.raises(ModelNotUsable) as caught:
        LocalModel.load("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_broken_weights(micro: Path, tmp_path: Path) -> None:
    for file in (micro / "policy").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ModelNotUsable):
        LocalModel.load(str(tmp_path))


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device_there_is(cuda: bool, mps: bool, chosen: str) -> None:
    assert chosen_device("auto", lambda: cuda, lambda: mps) == chosen


def test_a_device_is_taken_by_its_name_or_refused_in_one_line() -> None:
    assert chosen_device("cpu", lambda: True, lambda: True) == "cpu"
    with pytest.raises(BadConfig, match=r"^the device 'quantum' cannot be used here \(.+\); choose cpu, cuda, mps or auto\.$"):
        chosen_device("quantum")
