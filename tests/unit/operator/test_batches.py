import asyncio
from collections.abc import Sequence

import pytest

from longshore_operator.adapters.management.batches import MOST, Batches

pytestmark = pytest.mark.virtual_time


class Sink:
    """Takes what is sent, when it is let."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.is_open = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> None:
        self.sent.append(list(items))
        await self.is_open.wait()
        if self.error is not None:
            raise self.error


async def test_what_comes_alone_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore_operator.adapters.management.batches.REST", 3600)
    monkeypatch.setattr("longshore_operator.adapters.management.batches.LONGEST_REST", 3600)
    sink = Sink()
    sink.is_open.set()
    batches = Batches(sink)

    async with asyncio.timeout(10):
        await batches.add(1)
        await batches.add(2)

    assert sink.sent == [[1], [2]]


async def test_what_comes_meanwhile_shares_the_next_request() -> None:
    sink = Sink()
    batches = Batches(sink)
    adding = [asyncio.create_task(batches.add(number)) for number in range(MOST + 2)]
    await asyncio.sleep(0)
    sink.is_open.set()

    async with asyncio.timeout(10):
        await asyncio.gather(*adding)

    assert [len(batch) for batch in sink.sent] == [MOST, 2]
    assert sorted(number for batch in sink.sent for number in batch) == list(range(MOST + 2))


async def test_an_error_is_told_to_all_of_its_request_and_to_no_other() -> None:
    sink = Sink()
    sink.is_open.set()
    sink.error = ValueError("refused")
    batches = Batches(sink)

    results = await asyncio.gather(
        *(batches.add(number) for number in (1, 2)), return_exceptions=True
    )
    sink.error = None
    await batches.add(3)

    assert [str(result) for result in results] == ["refused", "refused"]
    assert sink.sent == [[1, 2], [3]]


async def test_one_who_no_longer_waits_disturbs_nobody() -> None:
    sink = Sink()
    batches = Batches(sink)
    first, second = (asyncio.create_task(batches.add(number)) for number in (1, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    sink.is_open.set()

    await second
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_when_the_sending_is_cancelled_nobody_waits_for_ever() -> None:
    async def cancelled(_: Sequence[int]) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    batches = Batches(cancelled)
    adding = [asyncio.create_task(batches.add(number)) for number in range(MOST + 5)]

    async with asyncio.timeout(10):
        results = await asyncio.gather(*adding, return_exceptions=True)

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
