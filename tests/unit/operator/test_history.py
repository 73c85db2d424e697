import httpx
import pytest

from longshore_operator.adapters.http import serve
from longshore_operator.core.workers.history import LENGTH, STEP, History, Hour, Moment


def noted(history: History, *, at: float, backlog: int | None = None) -> History:
    return history.noted(epoch=at, backlog=backlog, workers=1, wait=None)


def test_a_step_keeps_the_most_of_each() -> None:
    history = History()
    for backlog, workers, wait in ((1, 4, None), (7, 2, 0.5), (None, None, 0.25), (3, 3, None)):
        history = history.noted(epoch=61.0, backlog=backlog, workers=workers, wait=wait)

    assert history.moments == (Moment(at=60, backlog=7, workers=4, wait=0.5),)


def test_unknown_is_not_zero() -> None:
    assert noted(History(), at=0).moments[0].backlog is None
    assert noted(noted(History(), at=0), at=1, backlog=0).moments[0].backlog == 0


def test_an_hour_is_kept() -> None:
    history = History()
    for step in range(LENGTH + 10):
        history = noted(history, at=step * STEP, backlog=step)

    assert len(history.moments) == LENGTH
    assert history.moments[-1].backlog == LENGTH + 9


@pytest.mark.parametrize(("name", "status"), [("transcode", 200), ("unknown", 404)])
async def test_the_hour_is_shown_over_http(name: str, status: int) -> None:
    hour = Hour(moments=(Moment(at=60, backlog=7),))
    known = {("media", "transcode"): hour}
    runner = await serve(lambda *key: known.get(key), exposition=lambda: b"up 1\n", port=0)
    port = next(port for host, port, *_ in runner.addresses if host == "0.0.0.0")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get(f"/v1/history/media/{name}")
            metrics = await client.get("/metrics")
    finally:
        await runner.cleanup()

    assert metrics.text == "up 1\n"
    assert answer.status_code == status
    if status == 200:
        assert Hour.model_validate_json(answer.text) == hour
