"""Several processes, one policy: each core rolls out its share of the questions and works out its share of the gradient.

The weights lie in shared memory, so nothing is sent but questions, rollouts and gradients. Shares are dealt by position, never by who
is faster, so the result depends on the number of processes alone. On a GPU there is this process and no other.

What a run was given (an environment, an engine, a loss) reaches the other processes by cloudpickle: functions and classes of `__main__`, a
notebook included, travel by value, those of a module by name.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import cloudpickle
import numpy as np
import torch
import torch.multiprocessing as multiprocessing

from zerosearch.core.errors import BadConfig, RunFailed, ZeroSearchError, one_line
from zerosearch.core.interfaces import Environment, Renderer, close
from zerosearch.core.types import Episode, Group, Question, Trajectory
from zerosearch.models.local import LocalModel, quiet_transformers
from zerosearch.rl.learner import Learner, LossTotals, Minibatch
from zerosearch.rl.training_examples import TokenEstimates
from zerosearch.rollout.loop import RolloutSettings, rollout_group
from zerosearch.runs.interrupts import end_with_parent, start_quietly

MAX_PROCESSES = 4


def worker_count(wanted: int, device: str) -> int:
    """`wanted` processes, or for 0 one per core on a CPU (at most 4) and one on a GPU."""
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_PROCESSES) if device == "cpu" else 1


@dataclass(frozen=True, slots=True)
class Worker:
    """What one process works with."""

    policy: LocalModel
    environment: Environment
    settings: RolloutSettings
    learner: Learner
    group_size: int
    seed: int = 0
    renderer: Renderer | None = None

    async def rollout(self, questions: Sequence[Question], step: int, noise_rate: float) -> list[Group]:
        """One group per question, all at once."""
        episode = Episode(self.seed, step, noise_rate=noise_rate)
        given = (self.group_size, self.policy, self.environment, self.settings, episode, self.renderer)
        groups = await asyncio.gather(*(rollout_group(question, *given) for question in questions))
        await close(self.environment)
        self.policy.sampler.forget()  # the weights are about to change: what is cached belongs to the old ones
        return list(groups)


StartWorker = Callable[..., Worker]  # (model, tokenizer, reference, critic), the weights being shared ones, with its parts by name


class Workers:
    """`with Workers(me, start, size) as workers`: this process and `size - 1` others, started here; they end with the block.

    `start` is a StartWorker, `pickled`, which makes a Worker in another process around the shared weights; alone, nobody reads it.
    """

    def __init__(self, me: Worker, start: bytes, size: int) -> None:
        self.me, self._start, self.size = me, start, size
        self._others: list[Any] = []

    def __enter__(self) -> Self:
        if self.size > 1:
            torch.set_num_threads(1)  # the other cores have work of their own
            self.me.learner.share_memory()
            # the first worker of this process waits for torch to be imported; all others are forked from what has imported it
            how = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
            context: Any = multiprocessing.get_context(how)
            context.set_forkserver_preload([__name__])
            for _ in range(self.size - 1):
                mine, theirs = context.Pipe()
                learner, tokenizer = self.me.learner, self.me.policy.tokenizer
                arguments = (theirs, self._start, learner.model, tokenizer, learner.reference, learner.critic)
                start_quietly(context.Process(target=_serve, args=arguments, daemon=True))
                theirs.close()
                self._others.append(mine)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for other in self._others:
            other.close()  # whoever serves at its other end reads the end of the file and leaves

    async def rollout(self, questions: Sequence[Question], step: int, noise_rate: float) -> list[Group]:
        """One group per question, in the order of the questions."""
        self._tell("rollout", [(questions[i :: self.size], step, noise_rate) for i in range(1, self.size)])
        shares = [await self.me.rollout(questions[:: self.size], step, noise_rate), *self._hear()]
        return [shares[i % self.size][i // self.size] for i in range(len(questions))]

    def estimates(self, trajectories: Sequence[Trajectory]) -> list[TokenEstimates]:
        """One per rollout, in the order of the rollouts; the same as `Learner.estimates` gives alone."""
        order = sorted(range(len(trajectories)), key=lambda i: len(trajectories[i].token_ids))
        shares = [order[i :: self.size] for i in range(self.size)]
        self._tell("estimates", [([trajectories[i] for i in share],) for share in shares[1:]])
        answers = [self.me.learner.estimates([trajectories[i] for i in shares[0]]), *self._hear()]
        found = {i: a for share, answer in zip(shares, answers, strict=True) for i, a in zip(share, answer, strict=True)}
        return [found[i] for i in range(len(trajectories))]

    def gradients(self, minibatch: Minibatch) -> LossTotals:
        """Add the gradient of the minibatch's loss to the trained tensors'; the same as `Learner.gradients` does alone."""
        ordered = sorted(minibatch.examples, key=lambda one: len(one.trajectory.token_ids))  # shares of like lengths take like times
        shares = [replace(minibatch, examples=tuple(ordered[i :: self.size])) for i in range(self.size)]
        self._tell("gradients", [(share,) for share in shares[1:]])
        totals = self.me.learner.gradients(shares[0])
        for theirs, gradients in self._hear():
            totals = totals + theirs
            for tensor, gradient in zip(self.me.learner.trained.tensors, gradients, strict=True):
                if gradient is not None:
                    gradient = torch.from_numpy(gradient)
                    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
        return totals

    def _tell(self, command: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        for other, argument in zip(self._others, arguments, strict=True):
            with suppress(OSError):  # it has ended: `_hear` says why
                other.send((command, argument))

    def _hear(self) -> list[Any]:
        answers: list[Any] = []
        for other in self._others:
            try:
                failed, answer = other.recv()
            except (EOFError, OSError) as error:
                raise RunFailed(
                    "a worker process has ended (was the memory full?); resume the run with --resume, or start again with run.workers=1."
                ) from error
            if failed:
                raise answer
            answers.append(answer)
        return answers


def pickled(start: StartWorker, /, **parts: object) -> bytes:
    """`start(**parts)`, still without the shared weights, ready to be sent to another process: functions of `__main__` go by value.

    Raises BadConfig, with the pickler's own words, for the first part that cannot travel.
    """
    try:
        return cloudpickle.dumps(partial(start, **parts))
    except Exception:
        for name, part in parts.items():
            _require_travels(name, part)
        raise


def _require_travels(name: str, part: object) -> None:
    try:
        cloudpickle.dumps(part)
    except Exception as error:  # picklers raise what the object at hand raises
        raise BadConfig(
            f"the {name} {one_line(repr(part), 60)} cannot be sent to a worker process ({one_line(error)}); "
            "give a function that makes it, or \"module:name\", or use one process: run={'workers': 1}."
        ) from error


def _serve(pipe: Any, start: bytes, model: Any, tokenizer: Any, reference: Any, critic: Any) -> None:
    end_with_parent()
    quiet_transformers()
    torch.set_num_threads(1)
    failed, worker = _outcome(lambda: cloudpickle.loads(start)(model, tokenizer, reference, critic))
    with suppress(EOFError, OSError):  # the first process has closed its end: there is nothing left to do
        if failed:
            pipe.send((failed, worker))
        while not failed:
            command, argument = pipe.recv()
            pipe.send(_outcome(lambda: _COMMANDS[command](worker, *argument)))  # noqa: B023 (it is called at once)


def _outcome(work: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether it failed, and what came of it: no traceback may reach the terminal from a process the user did not start."""
    try:
        return False, work()
    except ZeroSearchError as error:
        return True, error
    except Exception as error:
        return True, RunFailed(f"a worker process failed: {type(error).__name__}: {error}")


def _gradients(worker: Worker, minibatch: Minibatch) -> tuple[LossTotals, list[np.ndarray | None]]:
    learner = worker.learner
    learner.trained.zero_grad()
    totals = learner.gradients(minibatch)
    return totals, [None if tensor.grad is None else tensor.grad.numpy() for tensor in learner.trained.tensors]


_COMMANDS: dict[str, Callable[..., Any]] = {
    "rollout": lambda worker, *share: asyncio.run(worker.rollout(*share)),
    "estimates": lambda worker, *share: worker.learner.estimates(*share),
    "gradients": _gradients,
}
