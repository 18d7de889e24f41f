"""The byte budget: what is leased never passes the bound, and nothing leased is ever lost."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from bulkmig._core.budget import ByteBudget
from bulkmig._core.memory import Memory


async def test_a_lease_waits_until_there_is_room() -> None:
    budget = ByteBudget(10)
    first = await budget.lease(8)
    got: list[int] = []

    async def second() -> None:
        lease = await budget.lease(5)
        got.append(lease.size)

    async with anyio.create_task_group() as group:
        group.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        first.shrink(5)
    assert got == [5]
    assert budget.peak == 10


async def test_what_is_larger_than_the_bound_passes_alone() -> None:
    budget = ByteBudget(10)
    lease = await budget.lease(1000)
    assert budget.in_flight == 10
    lease.release()
    lease.release()
    assert budget.in_flight == 0


async def test_a_small_lease_does_not_overtake_a_large_one_that_waits() -> None:
    budget = ByteBudget(10)
    first = await budget.lease(6)
    order: list[str] = []

    async def take(name: str, size: int) -> None:
        lease = await budget.lease(size)
        order.append(name)
        lease.release()

    async with anyio.create_task_group() as group:
        group.start_soon(take, "large", 9)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take, "small", 1)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        first.release()
    assert order == ["large", "small"]


async def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    budget = ByteBudget(10)
    first = await budget.lease(6)
    got: list[int] = []

    async def small() -> None:
        got.append((await budget.lease(4)).size)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(small)
            scope.cancel()
            await budget.lease(9)
    assert got == [4]
    first.release()
    assert budget.in_flight == 4


async def test_one_that_is_cancelled_just_as_it_gets_its_bytes_gives_them_back() -> None:
    budget = ByteBudget(10)
    first = await budget.lease(10)

    async def use() -> None:
        async with budget.leased(7):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        first.release()
        assert budget.in_flight == 7  # granted, though the task has not run yet
        group.cancel_scope.cancel()
    assert budget.in_flight == 0


async def test_a_block_that_fails_gives_its_lease_back() -> None:
    budget = ByteBudget(10)

    async def fail() -> None:
        async with budget.leased(4) as lease:
            assert (budget.in_flight, lease.size) == (4, 4)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert budget.in_flight == 0


async def test_a_lease_never_grows() -> None:
    budget = ByteBudget(10)
    lease = await budget.lease(4)
    lease.shrink(9)
    assert (lease.size, budget.in_flight) == (4, 4)
    lease.shrink(1)
    lease.shrink(3)
    assert (lease.size, budget.in_flight) == (1, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_in_whatever_order_tasks_take_give_and_die_the_bound_holds_and_nothing_leaks(seed: int) -> None:
    rng, budget = Random(seed), ByteBudget(100)
    served = 0

    async def use(size: int, turns: int) -> None:
        nonlocal served
        async with budget.leased(size) as lease:
            for _ in range(turns):
                assert budget.in_flight <= budget.bound
                lease.shrink(rng.randrange(size + 1))
                await anyio.lowlevel.checkpoint()
        served += 1

    async def use_and_be_cancelled(size: int, turns: int, after: int) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(use, size, turns)
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(60):
            size, turns = rng.choice((1, 20, 60, 100, 500)), rng.randrange(4)
            if rng.random() < 0.4:
                group.start_soon(use_and_be_cancelled, size, turns, rng.randrange(12))
            else:
                group.start_soon(use, size, turns)
    assert served >= 20
    assert budget.in_flight == 0
    assert 0 < budget.peak <= budget.bound
    assert (await budget.lease(100)).size == 100, "nobody waits any more"


async def test_the_two_budgets_of_a_run_add_up_to_its_bound() -> None:
    memory = Memory(1001)
    async with memory.held.leased(5000), memory.flow.leased(5000):
        assert memory.in_flight == 1001
    assert (memory.in_flight, memory.peak) == (0, 1001)
