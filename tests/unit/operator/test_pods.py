from typing import Any

import pytest

from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.pods import STEADY_AFTER, crash_of, pod


def body(state: dict[str, Any], *, last: dict[str, Any] | None = None, ready: bool = False) -> Any:
    container = {
        "name": "worker",
        "image": "media:1",
        "state": state,
        "lastState": last or {},
        "ready": ready,
    }
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}


CRASHED = {"terminated": {"exitCode": 1, "message": "ModuleNotFoundError: media.jobs"}}


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (
            body({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}),
            "ImagePullBackOff",
            "'media:1': no such host",
        ),
        (
            body({"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}),
            "ErrImageNeverPull",
            "not present",
        ),
        (
            body({"waiting": {"reason": "CrashLoopBackOff"}}, last=CRASHED),
            "WorkerCrashed",
            "ModuleNotFoundError: media.jobs",
        ),
        (body({"running": {}}, last=CRASHED), "WorkerCrashed", "exit code 1"),
        (body(CRASHED), "WorkerCrashed", "exit code 1"),
        (
            body({"waiting": {"reason": "CreateContainerConfigError", "message": "runAsNonRoot"}}),
            "CreateContainerConfigError",
            "runAsNonRoot",
        ),
        (
            {
                "metadata": {"name": "p"},
                "status": {
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/3 nodes: Insufficient cpu",
                        }
                    ]
                },
            },
            "Unschedulable",
            "Insufficient cpu",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_trouble_is_told_by_reason_and_words(found: Any, reason: str, words: str) -> None:
    trouble = pod(found).trouble

    assert trouble is not None
    assert trouble.reason == reason
    assert words in trouble.message


STARTED = "2026-01-01T00:00:00Z"
EPOCH = 1767225600.0


def test_a_container_that_has_crashed_is_trusted_once_it_has_run_for_a_while() -> None:
    """A sidecar without a probe is ready in the moment between two crashes."""
    running = pod(body({"running": {"startedAt": STARTED}}, last=CRASHED, ready=True))

    told = crash_of([running], epoch=EPOCH + 0.3)

    assert running.trouble is None
    assert told is not None
    assert told.reason == "WorkerCrashed"
    assert "exit code 1" in told.message
    assert crash_of([running], epoch=EPOCH + STEADY_AFTER) is None


def test_a_container_that_has_never_ended_is_trusted_at_once() -> None:
    running = pod(body({"running": {"startedAt": STARTED}}, ready=True))

    assert crash_of([running], epoch=EPOCH) is None


def test_a_node_whose_clock_is_ahead_holds_nothing_up() -> None:
    running = pod(body({"running": {"startedAt": STARTED}}, last=CRASHED, ready=True))

    assert crash_of([running], epoch=EPOCH - 3600) is None


def test_pull_and_back_off_are_one_state_with_one_text() -> None:
    pull = body({"waiting": {"reason": "ErrImagePull", "message": "no such host"}})
    back_off = body(
        {
            "waiting": {
                "reason": "ImagePullBackOff",
                "message": 'Back-off pulling image "media:1": ErrImagePull: no such host',
            }
        }
    )

    assert pod(pull).trouble == pod(back_off).trouble


@pytest.mark.parametrize(
    "found",
    [
        body({"waiting": {"reason": "ContainerCreating"}}),
        body({"running": {}}),
        body({"running": {}}, last=CRASHED, ready=True),
        {"metadata": {"name": "p"}},
    ],
)
def test_a_pod_on_its_way_has_no_trouble(found: Any) -> None:
    assert pod(found).trouble is None


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_is_no_worker(phase: str) -> None:
    """As after an eviction: its object stays, and Kubernetes has made another one."""
    evicted = {"metadata": {"name": "evicted", "uid": "1"}, "status": {"phase": phase}}
    working = {"metadata": {"name": "working", "uid": "2"}, "status": {"phase": "Running"}}
    key = ("media", "transcode")
    world = World(all_pods={key: [pod(evicted), pod(working)]})

    assert [each.name for each in world.pods(key)] == ["working"]
