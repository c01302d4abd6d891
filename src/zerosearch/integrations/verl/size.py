"""How many GPUs for how many searches per second: a run on paper, from the lengths of its parts and what a GPU can do. `zerosearch size`.

A step of synchronous training rolls out, learns, and hands the weights to the servers, one after the other:

    step = max(policy, simulator, slowest rollout) + learning + hand-over

    policy       tokens to decode / (GPUs × tokens per second of one), and its prompts and documents read
    simulator    searches × seconds of one GPU for one / GPUs of the simulator
    slowest      the longest rollout's turns, one after the other, however many GPUs there are
    learning     FLOPs of the forward and backward passes / (GPUs × what they reach)
    hand-over    the policy's bytes over the slowest link

Decoding is bound by memory: a step of a batch reads the weights once, and each row's keys and values. Reading a prompt is bound by
arithmetic.
"""

from dataclasses import dataclass

from zerosearch.core.errors import BadConfig


@dataclass(frozen=True, slots=True)
class Gpu:
    """Peak figures of the maker's data sheet: bfloat16 FLOP/s without sparsity, bytes/s of memory, bytes of it; bytes/s between nodes."""

    flops: float
    bandwidth: float
    memory: float
    network: float = 50e9


GPUS = {"a100": Gpu(312e12, 2.0e12, 80e9, 25e9), "h100": Gpu(989e12, 3.35e12, 80e9), "h200": Gpu(989e12, 4.8e12, 141e9)}


@dataclass(frozen=True, slots=True)
class Model:
    """Parameters, and bytes of keys and values per token (bfloat16; layers × KV heads × head size × 4)."""

    parameters: float
    kv_bytes: float


# the shapes in the models' config.json
MODELS = {
    "3b": Model(3.1e9, 36 * 2 * 128 * 4),
    "4b": Model(4.0e9, 36 * 8 * 128 * 4),
    "7b": Model(7.6e9, 28 * 4 * 128 * 4),
    "8b": Model(8.2e9, 36 * 8 * 128 * 4),
    "14b": Model(14.8e9, 48 * 8 * 128 * 4),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A step: so many rollouts, each with so many searches. Lengths are tokens. `longest` is the slowest rollout ÷ the mean one."""

    rollouts: int = 320
    searches: float = 2.0
    prompt: int = 250
    turn: int = 150
    observation: int = 350
    simulator_prompt: int = 400
    simulator_reply: int = 300
    longest: float = 2.5

    @property
    def decoded(self) -> float:
        return self.rollouts * (self.searches + 1) * self.turn

    @property
    def read(self) -> float:
        """Tokens the policy's servers read: a turn's beginning is still in the cache."""
        return self.rollouts * (self.prompt + self.searches * self.observation)

    @property
    def trained(self) -> float:
        return self.decoded + self.read


@dataclass(frozen=True, slots=True)
class Assumed:
    """Shares of the peak that real programs reach, and the largest batch of one server's GPU. Not measured by us: no GPU was at hand."""

    training: float = 0.35
    reading: float = 0.40
    decoding: float = 0.50
    rows: int = 256
    overhead_s: float = 5.0  # waking and putting to sleep, gathering the batch, the controller


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of a step's parts on `gpus` for policy and trainer and `simulators` for the simulator."""

    gpus: int
    simulators: int
    policy_s: float
    simulator_s: float
    slowest_rollout_s: float
    learning_s: float
    hand_over_s: float
    overhead_s: float
    searches: float
    tokens: float

    @property
    def rollout_s(self) -> float:
        return max(self.policy_s, self.simulator_s, self.slowest_rollout_s)

    @property
    def seconds(self) -> float:
        return self.rollout_s + self.learning_s + self.hand_over_s + self.overhead_s

    @property
    def limit(self) -> str:
        """The part that takes longest."""
        parts = {"policy": self.policy_s, "simulator": self.simulator_s, "slowest rollout": self.slowest_rollout_s}
        parts = {name: seconds for name, seconds in parts.items() if seconds == self.rollout_s}  # they run side by side
        parts |= {"learning": self.learning_s, "hand-over": self.hand_over_s, "overhead": self.overhead_s}
        return max(parts, key=lambda name: parts[name])

    def as_dict(self) -> dict[str, float | int | str]:
        parts = ("policy_s", "simulator_s", "slowest_rollout_s", "learning_s", "hand_over_s")
        return {
            **{"gpus": self.gpus, "simulator_gpus": self.simulators, "step_s": self.seconds, "rollout_s": self.rollout_s},
            **{part: getattr(self, part) for part in parts},
            **{"searches_per_s": self.searches / self.rollout_s, "tokens_per_s": self.tokens / self.seconds, "limit": self.limit},
        }


def decode_step_s(model: Model, gpu: Gpu, rows: float, context: float, assumed: Assumed) -> float:
    """Seconds for one more token in each of `rows`: weights once and every row's keys and values through memory, or the arithmetic."""
    memory = (2 * model.parameters + rows * context * model.kv_bytes) / (gpu.bandwidth * assumed.decoding)
    return max(memory, 2 * model.parameters * rows / (gpu.flops * assumed.reading))


def rows_that_fit(model: Model, gpu: Gpu, context: float, assumed: Assumed, share: float = 0.6) -> float:
    """How many rows of `context` tokens lie beside the weights in `share` of the memory. Raises BadConfig when the weights alone do not."""
    room = share * gpu.memory - 2 * model.parameters
    if room <= context * model.kv_bytes:
        raise BadConfig(
            f"{2 * model.parameters / 1e9:.0f} GB of weights leave no room in {share:.0%} of a GPU of {gpu.memory / 1e9:.0f} GB; "
            "choose a larger one."
        )
    return min(assumed.rows, room / (context * model.kv_bytes))


def search_s(model: Model, gpu: Gpu, work: Workload, assumed: Assumed) -> float:
    """Seconds of one GPU for one simulated search, in full batches."""
    context = work.simulator_prompt + work.simulator_reply / 2
    rows = rows_that_fit(model, gpu, context, assumed, share=0.9)
    reading = 2 * model.parameters * work.simulator_prompt / (gpu.flops * assumed.reading)
    return reading + work.simulator_reply * decode_step_s(model, gpu, rows, context, assumed) / rows


def step(policy: Model, simulator: Model, gpu: Gpu, gpus: int, simulators: int, work: Workload, assumed: Assumed = Assumed()) -> Step:
    context = work.prompt + work.searches * work.observation / 2 + (work.searches + 1) * work.turn / 2
    rows = min(rows_that_fit(policy, gpu, context, assumed), max(work.rollouts / gpus, 1.0))
    token_s = decode_step_s(policy, gpu, rows, context, assumed)
    reading = 2 * policy.parameters * work.read / (gpu.flops * assumed.reading * gpus)
    one_search = search_s(simulator, gpu, work, assumed)
    lone_search = work.simulator_reply * decode_step_s(simulator, gpu, min(assumed.rows, work.rollouts / simulators), 500, assumed)
    slowest = work.longest * ((work.searches + 1) * work.turn * token_s + work.searches * lone_search)
    # forward and backward 6, the layers run again 2, log-probs of policy and reference 2 each: FLOPs per parameter and token
    learning = 12 * policy.parameters * work.trained / (gpu.flops * assumed.training * gpus)
    return Step(
        gpus=gpus,
        simulators=simulators,
        policy_s=reading + work.decoded / gpus * token_s / rows,
        simulator_s=work.rollouts * work.searches * one_search / simulators,
        slowest_rollout_s=slowest,
        learning_s=learning,
        hand_over_s=2 * policy.parameters / gpu.network,
        overhead_s=assumed.overhead_s,
        searches=work.rollouts * work.searches,
        tokens=work.trained,
    )


def best_split(policy: Model, simulator: Model, gpu: Gpu, gpus: int, work: Workload, assumed: Assumed = Assumed()) -> Step:
    """Of `gpus` in all, the split between trainer and simulator with the shortest step; of those within 1% the fewest simulators.

    Raises BadConfig when there are fewer than two, or the masters, moments and gradients do not fit on those that train.
    """
    least = least_gpus(policy, gpu)
    if gpus < least + 1:
        raise BadConfig(f"{gpus} GPUs are too few: the trainer needs {least} for its 18 bytes per parameter, the simulator at least 1.")
    steps = [step(policy, simulator, gpu, gpus - n, n, work, assumed) for n in range(1, gpus - least + 1)]
    shortest = min(s.seconds for s in steps)
    return next(s for s in steps if s.seconds <= 1.01 * shortest)


def least_gpus(policy: Model, gpu: Gpu) -> int:
    """GPUs that hold the trainer: weights 2, gradients 4, masters 4 and two moments 8 bytes per parameter, in 90% of the memory."""
    return max(1, -int(-18 * policy.parameters // (0.9 * gpu.memory)))
