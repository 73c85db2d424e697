"""The command line, short of a broker or a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from longshore import cli
from longshore.cli import longshore
from longshore.cli.enqueue import parse_arguments

REPO = Path(__file__).parents[3]


def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The installed program, as a shell would run it."""
    program = Path(sys.executable).with_name("longshore")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
    return subprocess.run(
        [str(program), *words],
        env=bare | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_own_and_plugged_in_commands() -> None:
    said = run("--help").stdout

    assert [
        name for name in ("crds", "enqueue", "explain", "status", "worker") if name not in said
    ] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("source=s3://in?a=b",), {"source": "s3://in?a=b"}),
        (("n:=3", 'deep:={"a": [1]}', "off:=null"), {"n": 3, "deep": {"a": [1]}, "off": None}),
        (("empty=",), {"empty": ""}),
        (("colon=:=",), {"colon": ":="}),
    ],
)
def test_arguments_are_text_or_json(words: tuple[str, ...], expected: dict[str, object]) -> None:
    assert parse_arguments(words) == expected


@pytest.mark.parametrize("words", [("source",), ("=x",), (":=1",), ("n:=x",), ("n=1", "n=2")])
def test_a_word_that_is_no_argument_is_misuse(words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        parse_arguments(words)


def test_json_that_is_nested_too_deeply_is_misuse() -> None:
    with pytest.raises(click.UsageError, match="nested too deeply"):
        parse_arguments((f"x:={'[' * 100_000}",))


def test_an_invalid_job_is_one_line_and_exit_1() -> None:
    done = run("enqueue", "nowhere", "render", environment={"LONGSHORE_AMQP_URL": "amqp://h/"})

    assert done.returncode == 1
    assert done.stderr.startswith("Error: queue 'nowhere' is not NAMESPACE.NAME")
    assert done.stderr.count("\n") == 1


def test_a_broker_that_is_down_is_one_line_and_exit_1() -> None:
    url = {"LONGSHORE_AMQP_URL": "amqp://u:secret@127.0.0.1:9/"}
    done = run("enqueue", "demo.render", "render", environment=url)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot connect to RabbitMQ at 127.0.0.1:9: ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_no_address_is_misuse_and_names_the_variable() -> None:
    done = run("enqueue", "demo.render", "render")

    assert done.returncode == 2
    assert "LONGSHORE_AMQP_URL" in done.stderr


def test_a_worker_without_configuration_ends_with_its_own_exit_code() -> None:
    done = run("worker")

    assert done.returncode == 2
    assert "LONGSHORE_WORKER_CONFIG is not set" in done.stderr


def test_crds_are_printed_as_one_stream() -> None:
    done = run("crds")

    assert done.stdout.count("kind: CustomResourceDefinition\n") == 2


def test_crds_that_differ_are_named_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "crds"
    assert run("crds", "--output", str(folder)).returncode == 0
    assert run("crds", "--check", "--output", str(folder)).returncode == 0
    changed = folder / "longshore.dev_brokers.yaml"
    changed.write_text(changed.read_text() + "# by hand\n")

    done = run("crds", "--check", "--output", str(folder))

    assert done.returncode == 1
    assert "longshore.dev_brokers.yaml" in done.stderr
    assert "longshore crds --output" in done.stderr


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("no_such_package.cli:status", ["no_such_package", "longshore[operator]"]),
        ("longshore.cli:missing", ["longshore.cli:missing"]),
        ("longshore.cli:main", ["not a click command"]),
    ],
)
def test_a_command_that_does_not_load_says_so_in_one_line(
    entry: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint(name="status", value=entry, group=cli.COMMANDS)
    monkeypatch.setattr(cli, "entry_points", lambda **_: [broken])

    done = CliRunner().invoke(longshore, ["status", "--watch", "anything"])

    assert done.exit_code == 1
    assert [word for word in words if word not in done.output] == []
    assert done.output.count("\n") == 1


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:9'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )

    done = run("status", environment={"KUBECONFIG": str(kubeconfig)})

    assert done.returncode == 1
    assert done.stderr.startswith("Error: the cluster at https://127.0.0.1:9 does not answer: ")
    assert done.stderr.count("\n") == 1


def test_no_kubeconfig_is_one_line(tmp_path: Path) -> None:
    done = run("status", environment={"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)})

    assert done.returncode == 1
    assert done.stderr.startswith("Error: no cluster is configured: ")
    assert done.stderr.count("\n") == 1
