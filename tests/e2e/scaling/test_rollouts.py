"""What changes the pods replaces workers within `max`; their jobs are done once."""

from dev.kube import wait_for
from tests.e2e.scaling.workers import (
    QUICK,
    Most,
    deployment,
    events_of,
    log_of,
    staying,
    wait_for_workers,
    worker_of,
)
from tests.e2e.tenant import Tenant

FULL = {**QUICK, "policy": "fixed", "max": 2}
"""As many workers as there may be."""


def is_replaced(tenant: Tenant, before: set[str]) -> bool:
    """Whether all workers are new ones, and ready."""
    status = deployment(tenant)["status"]
    return not before & staying(tenant) and status.get("readyReplicas") == 2


def test_a_rollout_at_max_stays_within_it_and_a_busy_worker_ends_its_job(tenant: Tenant) -> None:
    tenant.apply(scaling=FULL, timeLimit={"hard": "120s"})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    before = wait_for_workers(tenant, 2)
    with tenant.client() as client:
        job = client.enqueue(tenant.queue(), "hold_until_told")
    busy = worker_of(tenant, job)
    workers = Most(lambda: len(staying(tenant)))

    with tenant.kube.followed(busy, namespace=tenant.namespace) as log:
        tenant.apply(
            scaling=FULL,
            timeLimit={"hard": "120s"},
            worker={"env": [{"name": "CHANGED", "value": "yes"}]},
        )
        wait_for(
            "the workers are new ones",
            lambda: workers.look() and is_replaced(tenant, before),
            seconds=90,
        )
        assert workers.seen == 2
        assert "told to end" not in log(), "it was replaced while it worked"
        tenant.tell(busy)
        wait_for("the job's end is in its worker's log", lambda: "told to end" in log())
    wait_for("the job is done", lambda: tenant.jobs().get("succeeded") == 1)
    assert (tenant.jobs()["failed"], tenant.jobs()["dead"]) == (0, 0)
    assert [pod for pod in staying(tenant) if job in log_of(tenant, pod)] == []


def test_an_image_that_cannot_run_takes_one_worker_at_max_and_none_below(tenant: Tenant) -> None:
    tenant.apply(scaling=FULL)
    tenant.wait_for_condition("Ready", "True", seconds=90)
    before = wait_for_workers(tenant, 2)

    tenant.apply(scaling=FULL, worker={"image": "localhost/no-such-image:1"})

    tenant.wait_for_condition("WorkersReady", "False", reason="ImagePullBackOff")
    assert len(staying(tenant)) == 2
    assert len(staying(tenant) & before) == 1

    tenant.apply(scaling=FULL)  # back to the image that runs
    wait_for(
        "the worker is there again", lambda: deployment(tenant)["status"].get("readyReplicas") == 2
    )
    roomy = wait_for_workers(tenant, 2)
    more = {**FULL, "policy": "backlog", "min": 2, "max": 5}
    tenant.apply(scaling=more)
    wait_for("a rollout may surge", lambda: strategy(tenant) == (1, 0))

    tenant.apply(scaling=more, worker={"image": "localhost/no-such-image:1"})

    tenant.wait_for_condition("WorkersReady", "False", reason="ImagePullBackOff")
    assert staying(tenant) > roomy
    assert len(staying(tenant)) == 3


def strategy(tenant: Tenant) -> tuple[int, int]:
    """Workers that a rollout starts beyond those that there are, and takes away before."""
    rolling = deployment(tenant)["spec"]["strategy"]["rollingUpdate"]
    return rolling["maxSurge"], rolling["maxUnavailable"]


def test_healthy_starts_and_rollouts_are_no_news(tenant: Tenant) -> None:
    """Neither a condition that fails for a moment nor an Event about it."""
    tenant.apply(scaling={**FULL, "max": 5})
    tenant.wait_for_condition("WorkersReady", "True", reason="Ready", seconds=90)
    since = tenant.condition("Ready")["lastTransitionTime"]
    wait_for("all are ready", lambda: deployment(tenant)["status"].get("readyReplicas") == 5)
    before = wait_for_workers(tenant, 5)

    tenant.apply(scaling={**FULL, "max": 5}, worker={"env": [{"name": "V", "value": "2"}]})

    wait_for(
        "the workers are new ones",
        lambda: (
            not before & staying(tenant) and deployment(tenant)["status"].get("readyReplicas") == 5
        ),
        seconds=120,
    )
    tenant.wait_for_condition("WorkersReady", "True", reason="Ready")
    assert tenant.condition("Ready")["lastTransitionTime"] == since
    assert events_of(tenant, "work") == {"Ready": 1}
