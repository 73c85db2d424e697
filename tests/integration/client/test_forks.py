"""Forks of a process whose Client is in use: gunicorn, multiprocessing, a daemon of its own."""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from longshore import Client
from longshore.producing.desk import Desk
from tests.integration.client.conftest import QUEUE, Vhost

pytestmark = [
    pytest.mark.integration,
    # What Python 3.12 says about any such fork is what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

Connect = Callable[..., Client]


def test_a_process_forked_while_other_threads_enqueue_can_enqueue(
    vhost: Vhost, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    # Tests write pika's logs to a file whose lock a fork copies, held by a thread that was logging.
    caplog.set_level(logging.WARNING, logger="pika")
    vhost.declare()
    client = connect(timeout=30)
    stop = threading.Event()
    errors: list[BaseException] = []

    def produce() -> None:
        try:
            while not stop.is_set():
                client.enqueue(QUEUE, "render", scene="y" * 50_000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=produce) for _ in range(3)]
    for each in threads:
        each.start()
    chance = random.Random(7)
    try:
        codes = []
        for _ in range(20):
            time.sleep(chance.uniform(0, 0.02))  # forks at moments that differ are the test
            codes.append(_exit_code(_fork(lambda: client.enqueue(QUEUE, "render"))))
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert codes == [0] * 20
    assert errors == []


def test_a_fork_at_any_line_of_a_call_leaves_both_processes_a_client_that_works(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    forked = 0
    for line in itertools.count(1, 2):
        client = connect(timeout=30)
        code = _fork_at(line, client)
        if code is None:
            break
        assert code == 0, line
        forked += 1
        client.enqueue(QUEUE, "render")
        client.close()
    assert forked > 20
    assert len(list(iter(vhost.get, None))) == 3 * forked + 1


def test_a_fork_at_any_moment_of_connecting_leaves_both_processes_a_client_that_works(
    vhost: Vhost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhost.declare()
    chance = random.Random(7)
    serve = Desk._serve
    for _ in range(20):
        client = connect(timeout=30)
        moment = _Moment(chance.randrange(1, 1200))
        with monkeypatch.context() as patched:
            patched.setattr(Desk, "_serve", lambda desk, moment=moment: moment.traced(serve, desk))
            code = moment.fork_in(client, traced=False)
        assert code in (0, None)
        client.enqueue(QUEUE, "render")
        client.close()


def test_a_forked_process_leaves_its_parents_connection_alone(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    client = connect(timeout=30)
    client.enqueue(QUEUE, "render")
    link = client._publisher._outlets.get()._link
    assert link is not None

    def use_and_close() -> None:
        client.enqueue(QUEUE, "render")
        client.close()
        client.enqueue(QUEUE, "render")

    assert _exit_code(_fork(use_and_close)) == 0
    # Not even the children of a child, which may have the id of their grandparent's parent.
    assert _exit_code(_fork(lambda: os._exit(_exit_code(_fork(use_and_close))))) == 0

    client.enqueue(QUEUE, "render")
    assert client._publisher._outlets.get()._link is link
    assert len(list(iter(vhost.get, None))) == 6


def _fork(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    return pid


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork_at(line: int, client: Client) -> int | None:
    return _Moment(line).fork_in(client, traced=True)


_WATCHED = ("client.py", "publisher.py", "desk.py", "dialer.py", "link.py", "connection.py")


class _Moment:
    """A line of some thread at which the main thread forks."""

    def __init__(self, line: int) -> None:
        self._left = line
        self._reached = threading.Event()
        self._over = threading.Event()

    def traced(self, function: Callable[..., None], *arguments: Any) -> None:
        sys.settrace(self._trace)
        try:
            function(*arguments)
        finally:
            sys.settrace(None)

    def fork_in(self, client: Client, *, traced: bool) -> int | None:
        """How a child ended that enqueues too; None if the thread never came so far."""
        errors: list[BaseException] = []

        def enqueue() -> None:
            try:
                client.enqueue(QUEUE, "render", headers={"tenant": "a"})
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(
            target=self.traced if traced else enqueue, args=(enqueue,) * traced
        )
        thread.start()
        while not self._reached.wait(0.01) and thread.is_alive():
            pass
        code = None
        if self._reached.is_set():
            code = _exit_code(_fork(lambda: client.enqueue(QUEUE, "render")))
        self._over.set()
        thread.join()
        assert errors == []
        return code

    def _trace(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event != "line" or not frame.f_code.co_filename.endswith(_WATCHED):
            return self._trace
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            self._over.wait(20)
        return self._trace
