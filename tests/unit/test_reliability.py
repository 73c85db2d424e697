"""`docs/reliability.md` claims nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text()
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line)]


def functions(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, kinds)}


def named(row: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py::test_\w+)`", row)


def test_every_guarantee_names_its_tests() -> None:
    assert len(ROWS) >= 14
    assert [row for row in ROWS if not named(row)] == []


def test_the_tests_that_guarantees_name_exist_and_are_not_skipped() -> None:
    for row in ROWS:
        for place in named(row):
            file, _, name = place.partition("::")
            found = functions(TESTS / file)
            assert name in found, place
            marks = [ast.unparse(mark) for mark in found[name].decorator_list]
            assert not [mark for mark in marks if "skip" in mark or "xfail" in mark], place
