"""The byte budget: what is leased never passes the bound, and nothing leased is ever lost."""

from __future__ import annotations

import anyio

from bulkmig._core.budget import ByteBudget


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
