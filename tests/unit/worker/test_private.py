"""What is not pika's public API is in one file, used with known versions of pika alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from longshore.amqp import private
from longshore.amqp.private import DirectConnection

ROOT = Path(private.__file__).parents[1]


def test_the_seam_is_used_with_known_pikas_only() -> None:
    assert private.connection_class("1.4.4") is DirectConnection
    assert private.connection_class("1.5.0") is AsyncioConnection
    assert private.is_known(pika.__version__)
    assert not private.is_known(pika.__version__, connection=object)


def test_pikas_own_connection_is_not_listened_to() -> None:
    assert not private.listen(object(), channel=1, listener=lambda _: None)


@pytest.mark.parametrize("source", sorted(ROOT.glob("amqp/*.py")), ids=lambda path: path.name)
def test_pikas_inside_is_used_in_one_file(source: Path) -> None:
    """Elsewhere what begins with `_` belongs to the object itself, or to its own module."""
    tree = ast.parse(source.read_text())
    own = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    foreign = {name for name in used - own - {"_replace"} if not name.startswith("__")}
    assert bool(foreign) == (source.name == "private.py"), foreign


@pytest.mark.parametrize("name", ["props", "methods"])
def test_nothing_of_pika_is_replaced_for_the_whole_process(name: str) -> None:
    # Imported for what their modules might replace.
    from longshore.amqp import publisher  # noqa: F401
    from longshore_operator.adapters.rabbitmq import link  # noqa: F401

    table = getattr(pika.spec, name)
    assert {each.__module__ for each in table.values()} == {"pika.spec"}
