"""Guards: what a run does when its figures say that it goes wrong. Each acts as configured and says so in metrics.jsonl.

A step always ends and the next one follows: a skip leaves an update out, a rollback takes older weights along, neither repeats a step.
So nothing here can loop, and `max_interventions` ends a run that only limps. All state is read off the rows already written: a run
that is resumed is guarded as it was.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from zerosearch.core.errors import RunFailed
from zerosearch.rl.settings import GuardsConfig

GRAVITY = ("warn", "skip", "rollback", "stop")


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, in words, and what is to be done about it."""

    text: str
    action: str


class Guards:
    """`allows(figures)` before each update, `end_step(row)` after each step; `rows` are the rows of the run so far."""

    def __init__(self, config: GuardsConfig, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.config = config
        self._alarms: list[Alarm] = []
        self._recent: list[float] = []  # rewards since the last intervention
        self._best = 0.0  # the best mean of a window
        self.interventions = 0
        for row in rows:
            if row["kind"] == "train":
                self._remember(row)

    def allows(self, figures: Mapping[str, float]) -> bool:
        """Whether the update may be made, and so may the rest of the step's. What is wrong is kept for the step's verdict."""
        known = {alarm.text.split(" = ")[0] for alarm in self._alarms}
        self._alarms += [alarm for alarm in self._broken(figures) if alarm.text.split(" = ")[0] not in known]
        return self._action in ("", "warn")

    def verdict(self) -> dict[str, str]:
        """What goes into the step's row: nothing, or `alarm` (in words) and `action`: the gravest of those that are due."""
        if not self._alarms:
            return {}
        return {"alarm": "; ".join(alarm.text for alarm in self._alarms), "action": self._action}

    def end_step(self, row: Mapping[str, Any]) -> str:
        """Take the step's row, which holds the verdict; returns the action. Raises RunFailed when that is to stop."""
        self._alarms = []
        self._remember(row)
        action = str(row.get("action", ""))
        if action == "stop":
            raise RunFailed(f"a guard stopped the run at step {row['step']}: {row['alarm']}; lower rl.learning_rate or change the limit.")
        return action

    @property
    def _action(self) -> str:
        action = max((alarm.action for alarm in self._alarms), key=GRAVITY.index, default="")
        return "stop" if action in ("skip", "rollback") and self.interventions >= self.config.max_interventions else action

    def _remember(self, row: Mapping[str, Any]) -> None:
        self._recent.append(float(row["reward"]))
        if len(self._recent) >= self.config.reward_window:
            self._best = max(self._best, fmean(self._recent[-self.config.reward_window :]))
        if row.get("action") in ("skip", "rollback"):
            self.interventions += 1
            self._recent = []  # what was done gets a window's time to work

    def _broken(self, figures: Mapping[str, float]) -> list[Alarm]:
        c, alarms = self.config, list[Alarm]()
        for name in ("loss", "grad_norm"):
            if name in figures and not math.isfinite(figures[name]):
                alarms.append(Alarm(f"{name} = {figures[name]} is not finite", c.on_nonfinite))
        for name, limit, action in (
            ("kl", c.max_kl, c.on_kl),
            ("policy_tokens", c.max_policy_tokens, c.on_length),
            ("logprob_mismatch", c.max_mismatch, c.on_mismatch),
        ):
            if limit and figures.get(name, 0.0) > limit:
                alarms.append(Alarm(f"{name} = {figures[name]:.4g} is above {limit:g}", action))
        if c.min_entropy and figures.get("entropy", math.inf) < c.min_entropy:
            alarms.append(Alarm(f"entropy = {figures['entropy']:.4g} is below {c.min_entropy:g}", c.on_entropy))
        window = [*self._recent, figures.get("reward", math.inf)][-c.reward_window :]
        floor = c.min_reward_share * self._best
        if len(window) == c.reward_window and fmean(window) < floor:
            alarms.append(
                Alarm(f"reward = {fmean(window):.4g} over {c.reward_window} steps is below {floor:.4g}, a share of the best", c.on_collapse)
            )
        return alarms
