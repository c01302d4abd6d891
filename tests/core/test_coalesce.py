"""Ask once: what overlaps is shared, what is finished is remembered, what failed is not."""

import asyncio

import pytest

from zerosearch.core.coalesce import Coalesced


class Doubling:
    """Doubles its key once the gate is open; remembers who asked."""

    def __init__(self, failures: int = 0) -> None:
        self.gate = asyncio.Event()
        self.asked: list[int] = []
        self.cancelled = 0
        self._failures = failures

    async def __call__(self, key: int) -> int:
        self.asked.append(key)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if len(self.asked) <= self._failures:
            raise ValueError(f"no {key} today")
        return 2 * key


async def started(*calls: "asyncio.Task[int]") -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)


def test_overlapping_and_repeated_calls_are_one() -> None:
    async def main() -> None:
        double = Doubling()
        coalesced = Coalesced(double)
        calls = [asyncio.create_task(coalesced(key)) for key in (1, 1, 2, 1)]
        await started(*calls)
        double.gate.set()
        assert await asyncio.gather(*calls) == [2, 2, 4, 2]
        assert await coalesced(1) == 2
        assert double.asked == [1, 2]
        assert (coalesced.calls, coalesced.hits) == (5, 3)

    asyncio.run(main())


def test_the_least_recently_used_is_forgotten_first() -> None:
    async def main() -> None:
        double = Doubling()
        double.gate.set()
        coalesced = Coalesced(double, max_remembered=2)
        for key in (1, 2, 1, 3, 1, 2):  # 3 pushes 2 out, for 1 was used since; then 2 is asked again
            await coalesced(key)
        assert double.asked == [1, 2, 3, 2]

    asyncio.run(main())


def test_a_failure_reaches_all_who_wait_and_is_forgotten() -> None:
    async def main() -> None:
        double = Doubling(failures=1)
        double.gate.set()
        coalesced = Coalesced(double)
        results = await asyncio.gather(coalesced(1), coalesced(1), return_exceptions=True)
        assert [str(result) for result in results] == ["no 1 today", "no 1 today"]
        assert await coalesced(1) == 2
        assert coalesced.hits == 1

    asyncio.run(main())


def test_one_who_leaves_does_not_take_the_others_along() -> None:
    async def main() -> None:
        double = Doubling()
        coalesced = Coalesced(double)
        first, second = (asyncio.create_task(coalesced(1)) for _ in range(2))
        await started(first, second)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        double.gate.set()
        assert await second == 2
        assert (double.asked, double.cancelled) == ([1], 0)

    asyncio.run(main())


def test_the_last_one_to_leave_ends_the_call_and_the_next_one_starts_anew() -> None:
    async def main() -> None:
        double = Doubling()
        coalesced = Coalesced(double)
        call = asyncio.create_task(coalesced(1))
        await started(call)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        double.gate.set()
        assert await coalesced(1) == 2  # asked before the cancelled call has had a chance to end
        assert (double.asked, double.cancelled) == ([1, 1], 1)

    asyncio.run(main())


def test_answers_outlive_the_loop() -> None:
    double = Doubling()
    double.gate.set()
    coalesced = Coalesced(double)
    assert [asyncio.run(coalesced(1)), asyncio.run(coalesced(1))] == [2, 2]
    assert double.asked == [1]
