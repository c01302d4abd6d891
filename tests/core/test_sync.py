"""A coroutine's result without `await`, with and without an event loop around."""

import asyncio
import signal

import pytest

from zerosearch.core.sync import outside_loop, run_sync


async def doubled(x: int) -> int:
    await asyncio.sleep(0.001)
    return 2 * x


def test_without_a_loop() -> None:
    assert run_sync(doubled(2)) == 4


def test_inside_a_running_loop_which_goes_on_afterwards() -> None:
    async def cell() -> tuple[int, int, bool]:
        beside, me = asyncio.create_task(doubled(10)), asyncio.current_task()
        inner = run_sync(doubled(3))
        return inner, await beside, asyncio.current_task() is me

    assert asyncio.run(cell()) == (6, 20, True)


def test_what_it_raises_leaves_the_loop_as_it_was() -> None:
    async def cell() -> int:
        with pytest.raises(ZeroDivisionError):
            outside_loop(lambda: 1 // 0)
        return await doubled(4)

    assert asyncio.run(cell()) == 8


def test_an_interrupt_reaches_the_work_inside_a_running_loop() -> None:
    async def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(10)

    async def cell() -> int:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                run_sync(interrupted())
        finally:
            signal.signal(signal.SIGINT, before)
        return await doubled(5)

    assert asyncio.run(cell()) == 10
