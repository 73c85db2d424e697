from __future__ import annotations

import _thread
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from longshore.amqp.errors import Abandoned
from longshore.producing import desk as desk_module
from longshore.producing.desk import Desk, Errand, PerProcess, Unfinished


def errand(work: Callable[[Errand], Any] = lambda _: None, *, seconds: float = 10) -> Errand:
    # Any callable will do: nothing here asks for a connection.
    return Errand(work, deadline=time.monotonic() + seconds)


def refuse(*_: object) -> int:
    raise RuntimeError("can't start new thread")


def test_errands_are_done_one_after_another_in_the_order_they_came() -> None:
    desk, done = Desk(), list[int]()

    def note(number: int, _: Errand) -> None:
        done.append(number)

    errands = [errand(partial(note, number)) for number in range(50)]
    for each in errands:
        desk.submit(each)
    assert all(each.wait() for each in errands)
    assert done == list(range(50))


def test_what_an_errand_raises_is_raised_where_it_is_waited_for() -> None:
    def fail(_: Errand) -> None:
        raise KeyError("of the errand")

    desk, failing = Desk(), errand(fail)
    desk.submit(failing)
    with pytest.raises(KeyError, match="of the errand"):
        failing.wait()
    following = errand()
    desk.submit(following)
    assert following.wait()


def test_an_errand_that_takes_too_long_is_waited_for_no_longer() -> None:
    desk, go = Desk(), threading.Event()
    slow, next_one = errand(lambda _: go.wait(), seconds=0.1), errand()
    desk.submit(slow)
    desk.submit(next_one)
    assert not slow.wait()
    go.set()
    assert next_one.wait()


def test_of_the_caller_and_the_errand_only_one_has_the_last_word() -> None:
    given_up, begun = errand(), errand()
    assert given_up.abandon()
    with pytest.raises(Abandoned):
        given_up.begin()
    begun.begin()
    assert not begun.abandon()
    begun.begin()  # it goes on with what it has begun


def test_an_abandoned_errand_is_not_done() -> None:
    desk, done = Desk(), []
    abandoned = errand(lambda _: done.append("abandoned"))
    abandoned.abandon()
    desk.submit(abandoned)
    assert abandoned.wait()
    assert done == []


def test_the_thread_ends_soon_after_the_last_errand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "LINGER", 0.05)
    before = _thread._count()
    desk, one = Desk(), errand()
    desk.submit(one)
    one.wait()
    deadline = time.monotonic() + 10
    while _thread._count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _thread._count() <= before  # an earlier desk may have ended meanwhile


def test_where_no_thread_can_be_started_the_caller_does_its_errand_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    desk, threads = Desk(), []
    for _ in range(2):
        one = errand(lambda _: threads.append(threading.current_thread()))
        desk.submit(one)
        assert one.wait()
    assert threads == [threading.main_thread()] * 2


def test_where_no_thread_can_be_started_no_caller_serves_beyond_its_own_errand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, go, endless = Desk(), threading.Event(), threading.Event()
    errands = [
        errand(lambda _: go.wait(10)),
        errand(),
        errand(lambda _: endless.wait(10)),
        errand(),
    ]
    ended: list[int] = []

    def call(number: int) -> None:
        desk.submit(errands[number])
        if errands[number].wait():
            ended.append(number)

    def is_behind(number: int) -> bool:
        return len(desk._errands) == number and desk._is_served.locked()

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    # Threads of `threading` keep to the name that it has imported.
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    for number, caller in enumerate(callers):
        caller.start()
        # The first is done at once, by its caller; the others queue up behind it.
        wait_until(partial(is_behind, number))
    go.set()
    for caller in callers[:2]:
        caller.join(5)
    assert sorted(ended) == [0, 1]
    endless.set()
    for caller in callers[2:]:
        caller.join(5)
    assert sorted(ended) == [0, 1, 2, 3]


def test_where_no_thread_can_be_started_a_strike_at_any_line_leaves_the_desk_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", refuse)

    class Struck(BaseException):
        pass

    def struck_at(line: int, desk: Desk) -> bool:
        seen = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal seen
            seen += event == "line" and frame.f_code.co_filename == desk_module.__file__
            if seen == line:
                raise Struck
            return trace

        one, before = errand(), sys.gettrace()
        try:
            sys.settrace(trace)
            desk.submit(one)
            one.wait()
        except Struck:
            return True
        finally:
            sys.settrace(before)
        return False

    for line in itertools.count(1):
        desk = Desk()
        struck = struck_at(line, desk)
        following = errand(seconds=1)
        desk.submit(following)
        assert following.wait(), f"line {line}"
        if not struck:
            break
    assert line > 15, "the tracer saw next to nothing"


def test_what_strikes_a_caller_that_does_anothers_errand_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", refuse)

    def interrupt(_: Errand) -> None:
        raise KeyboardInterrupt

    desk, anothers, own = Desk(), errand(interrupt), errand()
    desk._errands.append(anothers)
    with pytest.raises(KeyboardInterrupt):
        desk.submit(own)

    with pytest.raises(Unfinished, match="the thread that sent it was interrupted"):
        anothers.wait()
    desk.submit(following := errand())
    assert following.wait()


def wait_until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_signals_stay_with_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[set[int]] = []

    def look(_: Errand) -> None:
        masks.append({*signal.pthread_sigmask(signal.SIG_BLOCK, ())})

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    Desk().submit(in_thread := errand(look))
    assert in_thread.wait()
    # As gevent does: what was to be a thread runs in the main one.
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: function())
    Desk().submit(in_main := errand(look))
    assert in_main.wait()

    assert signal.SIGALRM in masks[0]
    assert masks[1] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_threads_that_ask_at_once_share_one_value_of_their_process() -> None:
    start, seen = threading.Barrier(8), []
    own: PerProcess[object] = PerProcess(object)

    def get() -> None:
        start.wait()
        seen.append(own.get())

    threads = [threading.Thread(target=get) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert set(seen) == {own.existing()}
