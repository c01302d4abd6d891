"""Guards: each limit, each action, the bound, and the same state after a resume."""

from typing import Any

import pytest

from zerosearch.core.errors import RunFailed
from zerosearch.rl.guards import Guards
from zerosearch.rl.settings import GuardsConfig

FINE = {"loss": 0.1, "grad_norm": 1.0, "kl": 0.01, "entropy": 1.0, "policy_tokens": 50.0, "logprob_mismatch": 1e-6, "reward": 0.5}


def row(step: int, reward: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, "reward": reward, **more}


@pytest.mark.parametrize(
    ("config", "figures", "alarm"),
    [
        ({"max_kl": 0.5}, {"kl": 0.7}, "kl = 0.7 is above 0.5"),
        ({"min_entropy": 0.2}, {"entropy": 0.1}, "entropy = 0.1 is below 0.2"),
        ({"max_policy_tokens": 100}, {"policy_tokens": 140.0}, "policy_tokens = 140 is above 100"),
        ({"max_mismatch": 0.1}, {"logprob_mismatch": 0.3}, "logprob_mismatch = 0.3 is above 0.1"),
        ({}, {"logprob_mismatch": 1.5}, "logprob_mismatch = 1.5 is above 1"),
    ],
)
def test_limits(config: dict[str, float], figures: dict[str, float], alarm: str) -> None:
    guards = Guards(GuardsConfig(**config))  # type: ignore[arg-type]
    assert guards.allows(FINE) and guards.verdict() == {}
    assert guards.allows(FINE | figures)  # to warn is the default
    assert guards.verdict() == {"alarm": alarm, "action": "warn"}
    assert guards.end_step(row(1)) == "" and guards.verdict() == {}


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_infinite_gets_into_the_weights(name: str, value: float) -> None:
    guards = Guards(GuardsConfig())
    assert not guards.allows(FINE | {name: value})
    verdict = guards.verdict()
    assert verdict == {"alarm": f"{name} = {value} is not finite", "action": "stop"}
    with pytest.raises(RunFailed, match=rf"a guard stopped the run at step 4: {name} = .* is not finite; lower"):
        guards.end_step(row(4) | verdict)


@pytest.mark.parametrize("action", ["skip", "rollback", "stop"])
def test_actions_keep_the_update_out_and_the_rest_of_the_step_s(action: str) -> None:
    guards = Guards(GuardsConfig(max_kl=0.5, on_kl=action))  # type: ignore[arg-type]
    assert not guards.allows(FINE | {"kl": 0.7}) and not guards.allows(FINE)
    assert guards.verdict() == {"alarm": "kl = 0.7 is above 0.5", "action": action}


def test_the_gravest_action_counts_and_an_alarm_is_told_once() -> None:
    guards = Guards(GuardsConfig(max_kl=0.5, min_entropy=0.2, on_entropy="rollback"))
    assert guards.allows(FINE | {"kl": 0.7}) and not guards.allows(FINE | {"kl": 0.9, "entropy": 0.1})
    assert guards.verdict() == {"alarm": "kl = 0.7 is above 0.5; entropy = 0.1 is below 0.2", "action": "rollback"}


def collapse(guards: Guards, rewards: list[float]) -> list[dict[str, str]]:
    verdicts = list[dict[str, str]]()
    for step, reward in enumerate(rewards):
        guards.allows({"reward": reward})
        verdicts.append(guards.verdict())
        guards.end_step(row(step, reward) | verdicts[-1])
    return verdicts


def test_collapse() -> None:
    """Windows of two: the best mean is 0.8; the first below half of it is (0.6 + 0.1) / 2."""
    verdicts = collapse(Guards(GuardsConfig(reward_window=2)), [0.0, 0.0, 0.7, 0.9, 0.6, 0.1, 0.9])
    assert [bool(v) for v in verdicts] == [False] * 5 + [True, False]
    assert verdicts[5]["alarm"] == "reward = 0.35 over 2 steps is below 0.4, a share of the best"


def test_what_was_done_gets_time_to_work() -> None:
    """After a rollback the window fills anew, instead of the same low rewards calling for the next one at once."""
    verdicts = collapse(Guards(GuardsConfig(reward_window=2, on_collapse="rollback")), [0.8, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert [v.get("action", "") for v in verdicts] == ["", "", "", "rollback", "", "rollback", ""]


def test_a_run_that_only_limps_is_stopped() -> None:
    guards = Guards(GuardsConfig(max_kl=0.5, on_kl="skip", max_interventions=2))
    for step, action in enumerate(("skip", "skip", "stop")):
        guards.allows(FINE | {"kl": 0.7})
        assert guards.verdict()["action"] == action
        if action == "skip":
            guards.end_step(row(step) | guards.verdict())


def test_a_resumed_run_is_guarded_as_it_was() -> None:
    config = GuardsConfig(reward_window=2, on_collapse="skip", max_interventions=1)
    rewards = [0.8, 0.8, 0.1, 0.1, 0.1, 0.1]
    rows = [row(i, r, **({"action": "skip", "alarm": "…"} if i == 3 else {})) for i, r in enumerate(rewards[:4])]
    resumed = Guards(config, [{"kind": "evaluate", "step": 0}, *rows])
    assert resumed.interventions == 1
    assert resumed.allows({"reward": 0.1}) and resumed.end_step(row(4, 0.1)) == ""
    assert not resumed.allows({"reward": 0.1}) and resumed.verdict()["action"] == "stop"
