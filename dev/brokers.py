"""Real RabbitMQ brokers on the host's loopback, for tests that need no cluster."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dev import buildah, builds, docker, packages, paths, processes, progress, rabbitmq, recipes
from dev.cache import lock, made_once, read_record, write_record
from dev.errors import DevError, NotReady
from dev.rabbitmq import Series

USER = PASSWORD = "guest"
START_DEADLINE = 60.0
START_SCRIPT = paths.SOURCES / "chroot" / "start-broker.sh"
CTL_SCRIPT = paths.SOURCES / "chroot" / "rabbitmqctl.sh"


def up(names: Sequence[str] = ()) -> dict[str, Any]:
    """Start the brokers of these series (default: all) unless they run; returns brokers.json."""
    with lock("brokers"):
        for series in _chosen(names):
            if _version(series) is None:
                _start(series)
        records = read_record(paths.BROKERS_RECORD)
        for series in _chosen(names):
            version = _await(series)
            records[series.name] = {"version": version} | record(series, ctl=_ctl(series))
        if records != read_record(paths.BROKERS_RECORD):
            write_record(paths.BROKERS_RECORD, dict(sorted(records.items())))
    return read_record(paths.BROKERS_RECORD)


def down(names: Sequence[str] = ()) -> None:
    """End them; their data was in memory and goes with them."""
    with lock("brokers"):
        for series in _chosen(names):
            _stop(series)
            records = read_record(paths.BROKERS_RECORD)
            records.pop(series.name, None)
            write_record(paths.BROKERS_RECORD, records)


def status() -> dict[str, str | None]:
    """The version that answers, by series; None where none does."""
    return {name: _version(series) for name, series in rabbitmq.ALL.items()}


def start_command(series: Series) -> list[str | Path]:
    """What runs a broker of this series in a root of its own, given its `environment`."""
    return [*_in_own_namespaces(), START_SCRIPT, _root(series)]


def environment(series: Series) -> dict[str, str]:
    """Node name and ports, as the start script takes them."""
    names = ("amqp", "management", "prometheus", "distribution", "epmd")
    return {
        "BROKER_NODE": _node(series)[0],
        **{f"BROKER_{name.upper()}": str(getattr(series, name)) for name in names},
    }


def ctl(series: Series, *, record: Path) -> list[str]:
    """What to put before rabbitmqctl's arguments; `record` is where its start is noted."""
    return [str(CTL_SCRIPT), str(record), *_node(series)]


def record(series: Series, *, ctl: Sequence[str]) -> dict[str, Any]:
    """How to reach a broker on the ports of `series`; `ctl` goes before rabbitmqctl's arguments."""
    return {
        "amqp": f"amqp://{USER}:{PASSWORD}@127.0.0.1:{series.amqp}/",
        "management": f"http://127.0.0.1:{series.management}",
        "prometheus": f"http://127.0.0.1:{series.prometheus}",
        "user": USER,
        "password": PASSWORD,
        "ctl": list(ctl),
    }


def wait_until_up(series: Series) -> None:
    """Wait for a broker on the ports of `series`. Raises NotReady."""
    deadline = time.monotonic() + START_DEADLINE
    while _version(series) is None:
        if time.monotonic() > deadline:
            raise NotReady(f"RabbitMQ on port {series.amqp} is not up in {START_DEADLINE:g} s")
        time.sleep(0.1)


def epmd_command(series: Series, *, port: int) -> list[str | Path]:
    """What runs Erlang's port mapper alone, for several nodes that find each other by it."""
    return ["chroot", _root(series), "/usr/bin/epmd", "-address", "127.0.0.1", "-port", str(port)]


def cluster_of(series: Series) -> set[str]:
    """Names of the running nodes of the cluster, as the node on these ports sees it; none until it
    serves."""
    if _version(series) is None:
        return set()
    nodes = _get(series, "nodes?disable_stats=true")
    return {node["name"] for node in nodes or () if node["running"]}


def _start(series: Series) -> None:
    _stop(series)
    if docker.answers():
        docker.run_broker(_name(series), series=series, user=USER, password=PASSWORD)
        return
    packages.require_root("a broker in its own root")
    processes.start(
        _name(series),
        start_command(series),
        state=paths.state(),
        environment=environment(series),
    )


def _stop(series: Series) -> None:
    if docker.answers():
        docker.remove(_name(series))
    processes.stop(_name(series), state=paths.state())
    # Becoming another user undoes --kill-child; what lives in the broker's root is the broker.
    processes.end(list(processes.rooted_in(_roots(), name=f"{_image(series)}-*")))


def _await(series: Series) -> str:
    deadline = time.monotonic() + START_DEADLINE
    with progress.step(f"RabbitMQ {series.name}") as waiting:
        while time.monotonic() < deadline:
            if version := _version(series):
                return version
            if not _running(series):
                break
            waiting.tick()
            time.sleep(0.1)
    log = paths.state() / f"{_name(series)}.log"
    raise NotReady(f"RabbitMQ {series.name} is not up after {waiting.elapsed:.0f} s: see {log}")


def _running(series: Series) -> bool:
    return docker.answers() or bool(processes.remembered(_name(series), state=paths.state()))


def _version(series: Series) -> str | None:
    """The version of the broker, once it is booted and both AMQP and management serve."""
    if (overview := _get(series, "overview")) is None:
        return None
    node = overview.get("node")
    protocols = {each["protocol"] for each in overview.get("listeners", []) if each["node"] == node}
    return overview["rabbitmq_version"] if "amqp" in protocols else None


def _get(series: Series, path: str) -> Any:
    """What the management API answers; None where it does not."""
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{series.management}/api/{path}",
        headers={"Authorization": f"Basic {token}"},
    )
    # A proxy of the machine must not come between us and our own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            return json.load(response)
    except (OSError, urllib.error.URLError, json.JSONDecodeError):
        return None


def _ctl(series: Series) -> list[str]:
    """What to put before rabbitmqctl's arguments."""
    if docker.answers():
        return ["docker", "exec", _name(series), "rabbitmqctl"]
    return ctl(series, record=paths.state() / f"{_name(series)}.pid")


def _node(series: Series) -> list[str]:
    return [f"rabbit-{series.name.replace('.', '-')}@localhost", str(series.epmd)]


def _root(series: Series) -> Path:
    recipe = recipes.rabbitmq(series)
    return made_once(
        f"{_roots().name}/{_image(series)}",
        key=recipe.reference.rpartition(":")[2],
        make=lambda folder: buildah.export_root(builds.build(recipe), folder),
    )


def _roots() -> Path:
    return paths.cache() / "roots"


def _image(series: Series) -> str:
    return f"rabbitmq-{series.name}"


def _in_own_namespaces() -> list[str]:
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]


def _name(series: Series) -> str:
    return f"longshore-broker-{series.name}"


def _chosen(names: Sequence[str]) -> list[Series]:
    unknown = sorted(set(names) - set(rabbitmq.ALL))
    if unknown:
        raise DevError(f"no RabbitMQ series {unknown[0]!r}: there are {', '.join(rabbitmq.ALL)}")
    return [rabbitmq.ALL[name] for name in names or rabbitmq.ALL]
