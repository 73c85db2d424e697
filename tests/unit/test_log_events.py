"""`docs/logs.md` lists every event and every key that the code can log, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.logs import MESSAGE

ROOT = Path(__file__).parents[2]
WORKER, OPERATOR = ROOT / "worker_image/longshore", ROOT / "operator/longshore_operator"
DOCS = (ROOT / "docs/logs.md").read_text()

LEVELS = {"info", "warning", "error", "exception"}

BY_HAND = re.compile(r'"event": "([^"]+)"')
"""In lines that are written without the standard library's logging."""

KEYS_BY_HAND = {
    *("time", "level", "event", "logger", "message", "traceback"),
    *("line", "lines", "job", "handler", "attempt", "seconds", "death"),
}
"""Keys of those lines, and of the fields that are given as a mapping."""


def sources() -> list[Path]:
    return sorted([*WORKER.rglob("*.py"), *OPERATOR.rglob("*.py")])


def calls(source: Path) -> Iterator[ast.Call]:
    """Calls of a `Log`, or of one of its methods by the name `at_level`."""
    tree = ast.parse(source.read_text())
    if not any(ast.unparse(node).startswith("log = Log(") for node in tree.body):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level)):
                assert level in LEVELS, f"{source}: log.{level}"
                yield node
            case ast.Call(func=ast.Name(id="at_level")):
                yield node


def event_of(call: ast.Call) -> str:
    match call.args:
        case [ast.Constant(value=str(event))]:
            return event
    raise AssertionError(f"not one event by its name: {ast.unparse(call)}")


def events_in(package: Path) -> set[str]:
    found = {MESSAGE}
    for source in sources():
        if source.is_relative_to(package):
            found |= {event_of(call) for call in calls(source)}
            found |= set(BY_HAND.findall(source.read_text()))
    return found


def events_of_both() -> set[str]:
    """The operator opens its connections with what the worker opens its own with."""
    return events_in(WORKER) & events_in(OPERATOR) | events_in(WORKER / "amqp/connection.py")


def listed(heading: str) -> set[str]:
    _, _, rest = DOCS.partition(f"\n## {heading}\n")
    table, _, _ = rest.partition("\n## ")
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    words = [word.strip("`") for cell in cells for word in cell.split(", ")]
    assert len(words) == len(set(words)) > 0, f"{heading}: something is listed twice"
    return set(words)


@pytest.mark.parametrize(
    ("package", "heading"), [(WORKER, "Events of a worker"), (OPERATOR, "Events of the operator")]
)
def test_the_documents_list_every_event(package: Path, heading: str) -> None:
    both = listed("Events of both")

    assert events_in(package) | both == listed(heading) | both


def test_events_of_both_are_events_of_each() -> None:
    assert listed("Events of both") == events_of_both()


def test_an_event_is_a_noun_with_a_verb_or_a_state_in_kebab_case() -> None:
    wrong = [
        event
        for event in events_in(WORKER) | events_in(OPERATOR)
        if not re.fullmatch(r"[a-z]+(-[a-z]+)+", event)
    ]

    assert wrong == []


def test_the_documents_list_every_key() -> None:
    keys = set(KEYS_BY_HAND)
    for source in sources():
        keys |= {each.arg for call in calls(source) for each in call.keywords if each.arg}

    assert keys - {"exc_info"} == listed("Keys")


def test_everything_is_logged_as_an_event() -> None:
    """The client runs in programs that are not ours: what it logs is a sentence."""
    loggers = [
        str(source.relative_to(ROOT))
        for source in sources()
        if re.search(r"= logging\.getLogger\(", source.read_text())
    ]

    assert loggers == ["worker_image/longshore/client.py", "worker_image/longshore/logs.py"]
