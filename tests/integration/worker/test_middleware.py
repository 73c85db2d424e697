"""What surrounds every job: middleware in code, by entry point, and the two that come along."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from longshore.contract.message import DEAD_REASON, ERROR, TRACEBACK
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration

PREAMBLE = """
import asyncio, contextlib, contextvars, os, sys, time
from longshore import Discard, Job, Retry, Snooze, SoftTimeLimit, handler, middleware

DIARY = os.path.join(os.getcwd(), "diary")

def note(line):
    descriptor = os.open(DIARY, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\\n".encode())
    os.close(descriptor)

who = contextvars.ContextVar("who", default="nobody")

@handler
def work(how: str = "well", number: int = 0) -> None:
    note(f"work for {who.get()}")
    if how == "badly":
        raise ValueError("work failed")

@handler
async def work_async(how: str = "well") -> None:
    await asyncio.sleep(0.01)
    note(f"work for {who.get()}")
    if how == "badly":
        raise ValueError("work failed")
"""


def write(bench: Bench, name: str, text: str) -> None:
    (bench.directory / f"{name}.py").write_text(PREAMBLE + dedent(text))


LAYERS = """
    @middleware
    @contextlib.contextmanager
    def outer(job: Job):
        note(f"outer in {job.handler} {job.attempt}")
        token = who.set("ada")
        try:
            yield
        except Exception as error:
            note(f"outer saw {type(error).__name__}")
            raise
        finally:
            who.reset(token)
            note("outer out")

    @middleware
    class inner:
        def __init__(self, job):
            self.job = job
        def __enter__(self):
            note("inner in")
        def __exit__(self, kind, error, traceback):
            note(f"inner out {kind and kind.__name__}")
"""


@pytest.mark.parametrize("handler", ["work", "work_async"])
def test_middleware_surrounds_the_handler_in_order_of_registration(
    bench: Bench, handler: str
) -> None:
    write(bench, "layered", LAYERS)
    worker = bench.started(handlers=["layered"])
    bench.enqueue(handler)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == [
        f"outer in {handler} 1",
        "inner in",
        "work for ada",
        "inner out None",
        "outer out",
    ]


@pytest.mark.parametrize("handler", ["work", "work_async"])
def test_middleware_sees_the_handlers_exception_pass_by(bench: Bench, handler: str) -> None:
    write(bench, "layered", LAYERS)
    bench.started(handlers=["layered"], retry={"max_attempts": 1})
    bench.enqueue(handler, how="badly")
    properties, _ = bench.dead()
    assert properties.headers[ERROR] == "ValueError: work failed"
    assert bench.lines()[-3:] == ["inner out ValueError", "outer saw ValueError", "outer out"]


def test_arguments_that_do_not_fit_reach_no_middleware(bench: Bench) -> None:
    write(bench, "layered", LAYERS)
    bench.started(handlers=["layered"], retry={"defer_for": 0.0})
    bench.enqueue("work", number="many")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "invalid-arguments"
    assert bench.lines() == []


def test_middleware_of_modules_that_are_not_served_is_left_out(bench: Bench) -> None:
    write(bench, "layered", LAYERS)
    (bench.directory / "gather.py").write_text("from layered import work, outer\n")
    worker = bench.started(handlers=["gather"])
    bench.enqueue("work")
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["outer in work 1", "work for ada", "outer out"]


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ("raise Discard('not ours')", "discarded"),
        ("raise Retry(after=0)", "max-attempts"),
    ],
)
def test_middleware_may_decide_before_the_handler(bench: Bench, decision: str, reason: str) -> None:
    write(
        bench,
        "deciding",
        f"""
        @middleware
        @contextlib.contextmanager
        def decide(job: Job):
            {decision}
            yield
        """,
    )
    bench.started(handlers=["deciding"], retry={"max_attempts": 2})
    bench.enqueue("work")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == reason
    assert bench.lines() == []


def test_middleware_may_put_a_job_off_without_charging_an_attempt(bench: Bench) -> None:
    write(
        bench,
        "patient",
        """
        @middleware
        @contextlib.contextmanager
        def wait(job: Job):
            if not os.path.exists(DIARY):
                note(f"snoozed {job.attempt}")
                raise Snooze(1)
            note(f"begun {job.attempt}")
            yield
        """,
    )
    worker = bench.started(handlers=["patient"])
    bench.enqueue("work")
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["snoozed 1", "begun 1", "work for nobody"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("1 / 0\n    yield", "ZeroDivisionError: division by zero"),
        ("yield\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("if False:\n        yield", "RuntimeError: generator didn't yield"),
        ("yield\n    yield", "RuntimeError: generator didn't stop"),
    ],
    ids=["before", "after", "no-yield", "two-yields"],
)
def test_a_middleware_that_fails_is_named(bench: Bench, body: str, said: str) -> None:
    (bench.directory / "failing.py").write_text(
        PREAMBLE
        + "@handler(throws=Exception, retry_when=lambda error: False)\ndef easy(): pass\n"
        + f"@middleware\n@contextlib.contextmanager\ndef breaks(job):\n    {body}\n"
    )
    bench.started(handlers=["failing"], retry={"max_attempts": 2, "initial_delay": 0.0})
    bench.enqueue("easy")
    properties, _ = bench.dead()
    # Tried again: what the handler says of its own failures does not count here.
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert properties.headers[ERROR] == (
        f"MiddlewareError: middleware 'failing.breaks' failed: {said}"
    )
    assert said.split(":")[0] in properties.headers[TRACEBACK]


def test_what_is_no_context_manager_is_told(bench: Bench) -> None:
    write(bench, "odd", "middleware(lambda job: 3)\n")
    bench.started(handlers=["odd"], retry={"max_attempts": 1})
    bench.enqueue("work")
    properties, _ = bench.dead()
    assert "it returned 3, which is not a context manager" in properties.headers[ERROR]


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("handler", ["work", "work_async"])
def test_a_soft_limit_interrupts_middleware_as_it_does_handlers(
    bench: Bench, where: str, handler: str
) -> None:
    write(
        bench,
        "slow",
        f"""
        @middleware
        @contextlib.contextmanager
        def outer(job: Job):
            try:
                yield
            except SoftTimeLimit:
                note("outer saw it")
                raise

        @middleware
        @contextlib.contextmanager
        def slow(job: Job):
            if {where == "before"}:
                time.sleep(60)
            yield
            time.sleep(60)
        """,
    )
    bench.started(handlers=["slow"], soft_limit="500ms", retry={"max_attempts": 1})
    bench.enqueue(handler)
    properties, _ = bench.dead()
    assert properties.headers[ERROR].startswith("SoftTimeLimit: ")
    assert bench.lines()[-1] == "outer saw it"


TIDY = """
    @middleware
    @contextlib.contextmanager
    def tidy(job: Job):
        try:
            yield
        finally:
            note("tidies")
            time.sleep({seconds})
            note("tidied")
"""


@pytest.mark.parametrize("handler", ["work", "work_async"])
def test_what_the_handler_raised_outlasts_a_soft_limit_in_middleware(
    bench: Bench, handler: str
) -> None:
    write(bench, "tidy", TIDY.format(seconds=60))
    worker = bench.started(handlers=["tidy"], soft_limit="500ms", retry={"max_attempts": 1})
    bench.enqueue(handler, how="badly")
    properties, _ = bench.dead()
    assert properties.headers[ERROR] == "ValueError: work failed"
    assert "tidied" not in bench.lines()
    worker.wait(
        "output-written", line="longshore.errors.SoftTimeLimit: the soft time limit has passed"
    )


@pytest.mark.parametrize(("how", "outcome"), [("well", "succeeded"), ("badly", "retried")])
@pytest.mark.parametrize("handler", ["work", "work_async"])
def test_a_drain_leaves_the_outcome_of_a_handler_that_has_ended(
    bench: Bench, handler: str, how: str, outcome: str
) -> None:
    write(bench, "tidy", TIDY.format(seconds=2))
    worker = bench.started(handlers=["tidy"], on_termination="Requeue")
    bench.enqueue(handler, how=how)
    bench.wait_lines(2)
    assert worker.stop() == 0
    assert [line["outcome"] for line in worker.events("job-settled")] == [outcome]
    assert bench.lines()[1:] == ["tidies", "tidied"]


def test_a_task_that_will_not_end_is_not_the_next_jobs(bench: Bench) -> None:
    write(
        bench,
        "lingering",
        """
        async def linger():
            while True:
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    pass

        @handler(max_attempts=1)
        async def leave_a_task() -> None:
            asyncio.create_task(linger(), name="lingering")
            await asyncio.sleep(0.02)

        @handler
        async def count_tasks() -> None:
            await asyncio.sleep(0.05)
            note(len(asyncio.all_tasks()))
        """,
    )
    worker = bench.started(handlers=["lingering"], soft_limit="500ms")
    bench.enqueue("leave_a_task")
    bench.dead()
    bench.enqueue("count_tasks")
    worker.wait("job-settled", outcome="succeeded")
    # Its own, and the one that waits for it.
    assert bench.lines() == ["2"]


def test_what_a_middleware_forgets_to_take_back_ends_with_its_job(bench: Bench) -> None:
    write(
        bench,
        "leaky",
        """
        @middleware
        @contextlib.contextmanager
        def leak(job: Job):
            note(f"before: {who.get()}")
            who.set(job.id)
            yield
        """,
    )
    worker = bench.started(handlers=["leaky"])
    bench.enqueue("work")
    bench.enqueue("work_async")
    worker.wait("job-settled", outcome="succeeded", count=2)
    assert [line for line in bench.lines() if "before" in line] == ["before: nobody"] * 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("@middleware\ndef wrong(job):\n    yield", "decorate it with @contextmanager"),
        ("@middleware\nasync def wrong(job): ...", "is async"),
        (
            "@middleware\n@contextlib.asynccontextmanager\nasync def wrong(job):\n    yield",
            "is async",
        ),
        (
            "@middleware\n@contextlib.contextmanager\ndef wrong():\n    yield",
            "the job as its only argument",
        ),
        ("middleware(3)", "is 3; it must be a function of a job"),
    ],
)
def test_middleware_of_a_wrong_kind_keeps_the_worker_from_starting(
    bench: Bench, wrong: str, said: str
) -> None:
    (bench.directory / "wrong.py").write_text(PREAMBLE + wrong + "\n")
    worker = bench.start(handlers=["wrong"])
    assert worker.exit_code() == 3
    message = worker.termination.read_text().splitlines()[0]
    assert message.startswith("cannot import handlers from wrong: ")
    assert said in message


def install(directory: Path, package: str, entry_points: dict[str, str], text: str) -> None:
    """A package as pip leaves it: a module and its metadata."""
    (directory / f"{package}.py").write_text(text)
    info = directory / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (info / "entry_points.txt").write_text("[longshore.middleware]\n" + "\n".join(lines) + "\n")


PLUGINS = PREAMBLE.split("who = ")[0] + dedent(
    """
    class Plugin:
        def __init__(self, name):
            self.name = name
        @contextlib.contextmanager
        def __call__(self, job):
            note(f"{self.name} in")
            yield
            note(f"{self.name} out")
        def close(self):
            note(f"{self.name} closed")
            time.sleep(60 if self.name == "two" else 0)

    one, two = Plugin("one"), Plugin("two")
    """
)


def test_installed_middleware_is_chosen_by_name_and_stands_in_the_order_of_the_list(
    bench: Bench,
) -> None:
    points = {"one": "plugins:one", "two": "plugins:two", "other": "plugins:missing"}
    install(bench.directory, "plugins", points, PLUGINS)
    write(bench, "layered", LAYERS)
    worker = bench.started(handlers=["layered"], middleware=["two", "one"])
    bench.enqueue("work")
    worker.wait("job-settled", outcome="succeeded")
    assert [line for line in bench.lines() if " in" in line] == [
        "two in",
        "one in",
        "outer in work 1",
        "inner in",
    ]


def test_middleware_is_told_when_a_child_ends_and_cannot_hold_it_up(bench: Bench) -> None:
    install(bench.directory, "plugins", {"one": "plugins:one", "two": "plugins:two"}, PLUGINS)
    write(bench, "plain", "")
    worker = bench.started(handlers=["plain"], middleware=["one", "two"], max_jobs_per_child=1)
    bench.enqueue("work")
    bench.enqueue("work")
    worker.wait("job-settled", outcome="succeeded", count=2)
    assert worker.stop() == 0
    closed = [line for line in bench.lines() if "closed" in line]
    assert sorted(closed[:4]) == ["one closed"] * 2 + ["two closed"] * 2


def test_a_child_whose_middleware_keeps_the_interpreter_is_killed_and_replaced(
    bench: Bench,
) -> None:
    stuck = PLUGINS.replace("time.sleep(60 if", "ctypes.PyDLL(None).sleep(60 if")
    install(bench.directory, "plugins", {"two": "plugins:two"}, "import ctypes\n" + stuck)
    write(bench, "plain", "")
    worker = bench.started(handlers=["plain"], middleware=["two"], max_jobs_per_child=1)
    for number in (1, 2):
        bench.enqueue("work")
        worker.wait("job-settled", outcome="succeeded", count=number)
        stuck_one = Path(f"/proc/{worker.wait('child-stuck', count=number)['pid']}")

        def is_gone(process: Path = stuck_one) -> bool:
            return not process.exists()

        wait_for(is_gone)
    assert 'longshore_kills_total{cause="dismissed"} 2.0' in worker.get("/metrics")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", ("no installed package has an entry point 'absent'", "one = plugins:one of")),
        ("gone", ("gone = plugins:gone of plugins 1.2 cannot be loaded", "AttributeError")),
        ("broken", ("broken = no_such_module:x of plugins 1.2", "ModuleNotFoundError")),
        ("number", ("number = plugins:number of plugins 1.2", "is 3; it must be a function")),
        ("twice", ("several installed packages have an entry point 'twice'",)),
    ],
)
def test_middleware_that_cannot_be_had_is_one_clear_error(
    bench: Bench, name: str, said: tuple[str, ...]
) -> None:
    points = {
        "one": "plugins:one",
        "gone": "plugins:gone",
        "broken": "no_such_module:x",
        "number": "plugins:number",
        "twice": "plugins:one",
    }
    install(bench.directory, "plugins", points, PLUGINS + "number = 3\n")
    install(bench.directory, "others", {"twice": "plugins:two"}, "")
    worker = bench.start(middleware=["one", name])
    assert worker.exit_code() == 3
    message = worker.termination.read_text().splitlines()[0]
    assert message.startswith(f"cannot import middleware {name}: ")
    for part in said:
        assert part in message


@pytest.mark.parametrize("code", [0, 1])
def test_installed_middleware_surrounds_commands_too(bench: Bench, code: int) -> None:
    install(bench.directory, "plugins", {"one": "plugins:one"}, PLUGINS)
    worker = bench.started(job_command=["sh", "-c", f"exit {code}"], middleware=["one"])
    bench.enqueue("anything")
    worker.wait("job-settled", outcome="retried" if code else "succeeded")
    # One process per job: it is closed at once.
    bench.wait_lines(2 if code else 3)
    assert bench.lines() == ["one in", *([] if code else ["one out"]), "one closed"]


def test_each_job_of_its_own_process_has_its_middleware(bench: Bench) -> None:
    write(bench, "layered", LAYERS)
    worker = bench.started(handlers=["layered"], isolation="Fork")
    bench.enqueue("work")
    bench.enqueue("work_async")
    worker.wait("job-settled", outcome="succeeded", count=2)
    assert bench.lines().count("work for ada") == 2
