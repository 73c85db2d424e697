from typing import Any

import pytest

from longshore_operator.app.world import World
from longshore_operator.core.pods import pod


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
