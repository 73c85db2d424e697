"""A job's way through the cluster, from a producer to zero workers again."""

import json
import time

import pika

from dev.kube import wait_for
from tests.e2e.tenant import Tenant


def settled(tenant: Tenant, *, succeeded: int = 0, dead: int = 0) -> None:
    """Wait until the status counts these jobs and nothing is left to do."""

    def look() -> bool:
        jobs = tenant.jobs()
        return (
            jobs.get("succeeded", 0) >= succeeded
            and jobs.get("dead", 0) >= dead
            and jobs.get("ready") == 0
            and jobs.get("running") == 0
        )

    wait_for(f"{succeeded} done and {dead} dead", look, seconds=90)


def test_jobs_wake_workers_and_the_last_one_puts_them_to_sleep(tenant: Tenant) -> None:
    tenant.apply(scaling={"jobsPerWorker": 2, "paused": True})
    tenant.wait_for_condition("ScalingActive", "False", reason="Paused")
    assert tenant.replicas() == 0

    with tenant.client() as client:
        for number in range(6):
            client.enqueue(tenant.queue(), "hold", seconds=0.5 + number / 10)
    tenant.apply(scaling={"jobsPerWorker": 2})

    # Six jobs at two for each worker: all three at once, not one after another.
    assert wait_for("workers", tenant.replicas, seconds=15) == 3
    settled(tenant, succeeded=6)
    wait_for("zero workers", lambda: tenant.replicas() == 0, seconds=60)
    wait_for("no pod left", lambda: not tenant.pods(), seconds=60)


def test_a_producer_with_plain_amqp_is_as_good_as_ours(tenant: Tenant) -> None:
    tenant.apply()
    tenant.wait_for_condition("Ready", "True")

    with (
        tenant.producer_url() as url,
        pika.BlockingConnection(pika.URLParameters(url)) as connection,
    ):
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange="longshore.jobs",
            routing_key=tenant.queue(),
            body=json.dumps({"text": "by hand"}).encode(),
            properties=pika.BasicProperties(
                type="note", content_type="application/json", delivery_mode=2
            ),
            mandatory=True,
        )

    settled(tenant, succeeded=1)


def test_a_busy_worker_outlives_the_manifest_that_made_it(tenant: Tenant) -> None:
    """A changed template replaces the pod; the job it was running is finished first, once."""
    tenant.apply()
    tenant.wait_for_condition("Ready", "True")
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=12)
    wait_for("the job runs", lambda: tenant.jobs().get("running") == 1, seconds=30)
    before = {pod["metadata"]["name"] for pod in tenant.pods()}

    tenant.apply(worker={"env": [{"name": "CHANGED", "value": "yes"}]})

    started = time.monotonic()
    wait_for(
        "the pod is asked to end",
        lambda: any("deletionTimestamp" in pod["metadata"] for pod in tenant.pods()),
        seconds=20,
    )
    settled(tenant, succeeded=1)
    assert time.monotonic() - started > 2, "the old pod went on with its job after SIGTERM"
    wait_for(
        "old pods are gone",
        lambda: not before & {pod["metadata"]["name"] for pod in tenant.pods()},
        seconds=30,
    )
    assert tenant.jobs().get("dead", 0) == 0


def test_a_failed_job_ends_in_the_dead_letter_queue_with_its_story(tenant: Tenant) -> None:
    tenant.apply()
    tenant.wait_for_condition("Ready", "True")

    with tenant.client() as client:
        client.enqueue(tenant.queue(), "fail", message="no such film")

    settled(tenant, dead=1)
    letter = tenant.dead_letters()[0]["properties"]
    assert letter["type"] == "fail"
    assert letter["headers"]["longshore-dead-reason"] == "max-attempts"
    assert "no such film" in letter["headers"]["longshore-error"]
    assert "jobs.py" in letter["headers"]["longshore-traceback"]


def test_a_command_runs_jobs_as_handlers_do(tenant: Tenant) -> None:
    script = 'grep -q s3://in/1.mov || { echo "no source" >&2; exit 3; }'
    command = {"isolation": "Exec", "command": ["sh", "-c", script]}
    tenant.apply(worker={"handlers": None, **command})
    tenant.wait_for_condition("Ready", "True")

    with tenant.client() as client:
        client.enqueue(tenant.queue(), "convert", source="s3://in/1.mov")
        client.enqueue(tenant.queue(), "whatever", target="s3://out/1.mov")

    settled(tenant, succeeded=1, dead=1)
    (letter,) = tenant.dead_letters()
    headers = letter["properties"]["headers"]
    assert headers["longshore-error"] == "CommandFailed: exited with code 3"
    assert headers["longshore-traceback"] == "no source\n"


def test_a_task_queue_larger_than_any_annotation_stands_and_carries_no_copy_of_itself(
    tenant: Tenant,
) -> None:
    """P36. kopf keeps what it has handled in an annotation, and 256 KiB are all that fit there."""
    env = [{"name": f"LARGE_{number}", "value": "x" * 15_000} for number in range(40)]
    manifest = tenant.manifest(worker={"env": env}, scaling={"paused": True})
    tenant.kube.kubectl("create", "--filename=-", given=manifest)
    tenant.wait_until_declared("work")

    found = tenant.kube.get("taskqueue", "work", f"--namespace={tenant.namespace}")
    assert "annotations" not in found["metadata"]
    assert found["spec"]["worker"]["env"] == env
    tenant.remove("work")
