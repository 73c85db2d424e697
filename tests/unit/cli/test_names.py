"""Which TaskQueue a command is about: `NAMESPACE.NAME`, or `NAME -n NAMESPACE`."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from longshore.cli import longshore, names
from longshore_operator.cli import commands
from longshore_operator.cli.status import table


@pytest.mark.parametrize(
    ("task_queue", "namespace", "expected"),
    [
        ("transcode", None, (None, "transcode")),
        ("transcode", "media", ("media", "transcode")),
        ("media.transcode", None, ("media", "transcode")),
        ("media.transcode", "media", ("media", "transcode")),
    ],
)
def test_a_task_queue_is_named_with_or_without_its_namespace(
    task_queue: str, namespace: str | None, expected: tuple[str | None, str]
) -> None:
    assert names.split(task_queue, namespace=namespace) == expected


@pytest.mark.parametrize(
    ("task_queue", "namespace", "said"),
    [
        ("media.transcode", "demo", "is in namespace 'media', but --namespace is 'demo'"),
        ("media/transcode", None, "write NAME or NAMESPACE.NAME"),
        ("media.video.transcode", None, "'media.video' is not a DNS label"),
        (".transcode", None, "namespace '' is not a DNS label"),
        ("media.", None, "name '' is not a DNS label"),
        ("Transcode", "media", "name 'Transcode' is not a DNS label"),
        ("", None, "name '' is not a DNS label"),
    ],
)
def test_a_contradiction_or_no_name_at_all_is_misuse(
    task_queue: str, namespace: str | None, said: str
) -> None:
    with pytest.raises(click.UsageError) as refused:
        names.split(task_queue, namespace=namespace)

    assert said in str(refused.value)


class Cluster:
    """Answers for every TaskQueue, and notes which it was asked for."""

    default_namespace = "current"

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str | None]] = []

    def connect(self, *, context: str | None) -> Cluster:
        return self

    def read(self, *, namespace: str | None, name: str | None) -> list[dict[str, Any]]:
        self.asked.append((namespace, name))
        return [{"metadata": {"namespace": namespace, "name": name}, "spec": {}}] if name else []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(commands, "TaskQueues", cluster)
    monkeypatch.setattr(commands, "read_history", lambda *_, **__: "no history")
    return cluster


@pytest.mark.parametrize("command", ["status", "explain"])
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["media.transcode"], ("media", "transcode")),
        (["transcode", "-n", "media"], ("media", "transcode")),
        (["media.transcode", "--namespace=media"], ("media", "transcode")),
        (["transcode"], ("current", "transcode")),
    ],
)
def test_commands_take_both_forms(
    cluster: Cluster, command: str, words: list[str], asked: tuple[str, str]
) -> None:
    done = CliRunner().invoke(longshore, [command, *words])

    assert (done.exit_code, cluster.asked) == (0, [asked]), done.output


@pytest.mark.parametrize("command", ["status", "explain", "enqueue"])
def test_commands_refuse_two_namespaces(cluster: Cluster, command: str) -> None:
    words = ["media.transcode", *(["handler", "--url=amqp://h/"] if command == "enqueue" else ())]

    done = CliRunner().invoke(longshore, [command, *words, "-n", "demo"])

    assert (done.exit_code, cluster.asked) == (2, [])
    assert "is in namespace 'media', but --namespace is 'demo'" in done.output


@pytest.mark.parametrize("words", [["media.transcode"], ["transcode", "-n", "media"]])
def test_enqueue_takes_both_forms(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def send(_self: object, queue: str, *_: object, **__: object) -> str:
        sent.append(queue)
        return "id"

    monkeypatch.setattr("longshore.client.Client.send", send)
    done = CliRunner().invoke(longshore, ["enqueue", *words, "handler", "--url=amqp://h/"])

    assert (done.exit_code, sent) == (0, ["media.transcode"]), done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no TaskQueues in namespace 'current'. --all-namespaces shows"),
        (["-n", "media"], "no TaskQueues in namespace 'media'. --all-namespaces shows"),
        (["--all-namespaces"], "no TaskQueues in any namespace."),
    ],
)
def test_an_empty_namespace_is_named_with_the_flag_for_all(
    cluster: Cluster, words: list[str], said: str
) -> None:
    done = CliRunner().invoke(longshore, ["status", *words])

    assert done.exit_code == 0
    assert said in done.output


def test_task_queues_are_shown_by_namespace_and_name() -> None:
    console = Console(width=160, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(
            table([{"metadata": {"namespace": "a", "name": "b"}, "spec": {}}], namespace=None)
        )

    assert capture.get().splitlines()[-1].split()[:3] == ["a", "b", "Unknown"]
