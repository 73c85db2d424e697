"""The worker's parent is built of parts that are complete before anything runs."""

from __future__ import annotations

import ast
import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pika
import pytest

import longshore.worker.parent
from longshore.contract.config import WorkerConfig
from longshore.worker.parent.shutdown import Shutdown
from longshore.worker.parent.wiring import build

ROOT = Path(longshore.worker.parent.__path__[0])
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

PIKAS_OWN = {
    f"parameters.{name}" for name in ("heartbeat", "connection_attempts", "client_properties")
}
"""pika's parameters are read from an address, and take nothing else that way."""


@pytest.mark.parametrize("module", MODULES)
def test_no_part_assigns_attributes_of_another(module: str) -> None:
    assigned = {ast.unparse(each) for each in _assigned(_tree(module))}
    assert {each for each in assigned if not each.startswith("self.")} - PIKAS_OWN == set()
    assert {each for each in assigned if each.count(".") > 1} == set(), "of another that is its own"


@pytest.mark.parametrize("module", MODULES)
def test_no_attribute_appears_after_the_constructor(module: str) -> None:
    for kind in ast.walk(_tree(module)):
        if isinstance(kind, ast.ClassDef):
            methods = [each for each in kind.body if isinstance(each, ast.FunctionDef)]
            born = {ast.unparse(e) for m in methods if m.name == "__init__" for e in _assigned(m)}
            born |= {
                f"self.{ast.unparse(each.target)}"
                for each in kind.body
                if isinstance(each, ast.AnnAssign)
            }
            assigned = {ast.unparse(each) for each in _assigned(kind)}
            late = {each for each in assigned if each.startswith("self.")} - born
            assert late == set(), kind.name


@pytest.mark.parametrize("module", MODULES)
def test_no_attribute_is_assigned_by_its_name(module: str) -> None:
    called = {
        ast.unparse(each.func) for each in ast.walk(_tree(module)) if isinstance(each, ast.Call)
    }
    assert not {"setattr", "object.__setattr__"} & called


@pytest.mark.parametrize("prefetch", ["auto", 4])
async def test_a_worker_is_built_before_anything_runs(prefetch: int | Literal["auto"]) -> None:
    control, zygote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = build(
        WorkerConfig(
            queue="a.b", handlers=("jobs",), hard_limit=60.0, ack_timeout=600.0, prefetch=prefetch
        ),
        parameters=pika.ConnectionParameters(),
        control=control,
        zygote_pid=os.getpid(),
        name="w",
        shutdown=Shutdown(),
        put_line=lambda _: None,
        epoch=lambda: 0.0,
        chance=lambda: 0.0,
    )
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert worker.dispatch.pool is worker.pool
    assert worker.dispatch.held == 0
    assert not worker.consumer.is_consuming
    worker.zygote.close()
    zygote.close()


def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def _assigned(node: ast.AST) -> Iterator[ast.Attribute]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store | ast.Del):
            yield each
