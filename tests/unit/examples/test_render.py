"""The render example without a cluster: handlers, producer's jobs, verifier, files."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from demo.verdict import DESIGNED_END
from longshore import Job
from longshore.binding import BoundHandler, InvalidArguments
from longshore.handler import discover_handlers, spec_of
from longshore.producing.submission import Handler, prepare
from longshore_operator.api.v1alpha1 import TaskQueueSpec

EXAMPLE = Path(__file__).parents[3] / "examples" / "render"
MANIFESTS = sorted(EXAMPLE.glob("*.yaml"))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module of handlers, writing to `tmp_path`."""
    monkeypatch.setenv("OUTPUT", str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return import_module("render.jobs")


def job(number: int = 1) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=f"job-{number}",
        handler="render",
        attempt=1,
        max_attempts=1,
        queue="demo.render",
        enqueued_at=now,
        deadline=now,
    )


def test_every_run_leaves_a_picture_and_a_line_that_the_verifier_accepts(
    jobs: Any, tmp_path: Path
) -> None:
    jobs.render(job(1), scene="fractal", width=64, height=48, seed=1)
    jobs.render(job(2), scene="poster", width=32, height=32, seed=2)
    jobs.panorama(job(3), tiles=3, seconds=0, size=16)

    summary = import_module("verify").summary(tmp_path)

    assert summary["faults"] == []
    assert summary["pictures"] == 3
    assert [(run["id"], run["handler"], run["size"]) for run in summary["runs"]] == [
        ("job-1", "render", [64, 48]),
        ("job-2", "render", [32, 32]),
        ("job-3", "panorama", [48, 16]),
    ]
    assert all(run["started_ms"] <= run["ended_ms"] for run in summary["runs"])


def test_the_verifier_names_what_is_wrong(jobs: Any, tmp_path: Path) -> None:
    for number in range(3):
        jobs.render(job(number), scene="fractal", width=32, height=32)
    (tmp_path / "job-0.png").unlink()
    (tmp_path / "job-1.png").write_bytes(b"half of a picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "job-2.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "stray.png")

    faults = import_module("verify").summary(tmp_path)["faults"]

    assert [re.split(r"[: ]", fault)[0] for fault in faults] == [
        "job-0.png",
        "job-1.png",
        "job-2.png",
        "stray.png",
    ]


def test_the_same_seed_makes_the_same_picture(jobs: Any, tmp_path: Path) -> None:
    for number, seed in ((1, 5), (2, 5), (3, 6)):
        jobs.render(job(number), scene="fractal", width=32, height=32, seed=seed)

    pictures = [(tmp_path / f"job-{number}.png").read_bytes() for number in (1, 2, 3)]
    assert pictures[0] == pictures[1] != pictures[2]


@pytest.mark.parametrize(
    "arguments", [{}, {"scene": "opera"}, {"scene": "fractal", "width": "wide"}, {"widht": 9}]
)
def test_bad_arguments_are_seen_before_the_handler_runs(
    jobs: Any, arguments: dict[str, Any]
) -> None:
    spec = spec_of(jobs.render)
    assert spec

    with pytest.raises(InvalidArguments):
        BoundHandler(spec).arguments(json.dumps(arguments).encode())


class Recorder:
    """Takes a producer's jobs as Client does, and sends them nowhere."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def enqueue(self, queue: str, handler: Handler, **arguments: Any) -> str:
        made = prepare(
            queue,
            handler,
            arguments,
            delay=0,
            priority=0,
            expires_in=None,
            headers={},
            now=len(self.sent),
            entropy=bytes(10),
        )
        self.sent.append(str(made.properties["message_id"]))
        return self.sent[-1]


def test_the_producer_sends_every_kind_that_the_demo_judges(jobs: Any) -> None:
    client = Recorder()

    sent = list(
        import_module("producer").enqueue(client, "demo.render", renders=200, panorama_seconds=35.0)
    )

    kinds = [kind for kind, _ in sent]
    assert {*kinds, "plain-amqp"} == DESIGNED_END.keys()
    assert kinds.count("render") == 200
    assert [job_id for _, job_id in sent] == client.sent


def test_the_task_queue_is_one_and_serves_these_handlers(jobs: Any) -> None:
    manifest = yaml.safe_load((EXAMPLE / "taskqueue.yaml").read_text())

    spec = TaskQueueSpec.model_validate(manifest["spec"], extra="forbid")

    handlers = discover_handlers(spec.worker.handlers)

    assert handlers.keys() == {"render", "panorama", "endless", "crash"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_agree_on_image_namespace_and_folder(path: Path) -> None:
    text = path.read_text()

    assert yaml.safe_load(text)["metadata"]["namespace"] == "demo"
    assert set(re.findall(r"image: (\S+)", text)) == {"longshore/example-render:dev"}
    assert set(re.findall(r"path: ([^,}\s]+)", text)) <= {"/var/tmp/longshore-render"}
