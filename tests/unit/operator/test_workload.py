import re
from typing import Any

from longshore.contract.config import WorkerConfig
from longshore.contract.names import POD_NAME_ENV, WORKER_CONFIG_ENV
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.kubernetes.overlay import contains
from longshore_operator.core.kubernetes.workload import (
    NODE,
    ZONE,
    budget_manifest,
    deployment_manifest,
    timeouts,
)
from tests.unit.operator.specs import OWNER, V4_3, spec, worker


def rendered(task_queue: TaskQueueSpec | None = None) -> dict[str, Any]:
    task_queue = task_queue or spec()
    limits = timeouts(task_queue, features=V4_3)
    return deployment_manifest(
        OWNER, spec=task_queue, timeouts=limits, heartbeat=30.0, broker="rabbit:5672/longshore"
    )


def pod(task_queue: TaskQueueSpec | None = None) -> dict[str, Any]:
    template: dict[str, Any] = rendered(task_queue)["spec"]["template"]
    return template


def container(task_queue: TaskQueueSpec | None = None) -> dict[str, Any]:
    (only,) = [c for c in pod(task_queue)["spec"]["containers"] if c["name"] == "worker"]
    return dict(only)


def test_what_is_taken_out_of_a_spec_is_seen() -> None:
    """What is wanted then is part of what is live, so only the hash tells them apart."""
    with_selector = spec(worker=worker(podTemplate={"spec": {"nodeSelector": {"disk": "fast"}}}))
    live, wanted = rendered(with_selector), rendered()

    assert not contains(live, wanted)
    assert contains(rendered(), rendered())


def test_another_broker_makes_new_pods() -> None:
    assert pod()["metadata"]["annotations"]["longshore.dev/broker"] == "rabbit:5672/longshore"


def test_the_worker_reads_the_configuration_that_the_operator_renders() -> None:
    task_queue = spec(
        timeLimit={"hard": "90s", "soft": "80s"},
        worker=worker(
            slots=3,
            memoryLimitPerJob="512Mi",
            maxJobsPerChild=7,
            maxMemoryPerChild="400Mi",
            middleware=["sentry", "opentelemetry"],
        ),
        retry={"maxAttempts": 2, "initialDelay": "250ms", "maxAge": "1h"},
        onTermination="Requeue",
    )
    env = {variable["name"]: variable for variable in container(task_queue)["env"]}

    config = WorkerConfig.from_json(env[WORKER_CONFIG_ENV]["value"])

    assert config.queue == "media.transcode"
    assert (config.hard_limit, config.soft_limit, config.ack_timeout) == (90.0, 80.0, 300.0)
    assert (config.slots, config.prefetch, config.max_jobs_per_child) == (3, "auto", 7)
    assert config.memory_limit_per_job == 512 * 1024**2
    assert config.max_memory_per_child == 400 * 1024**2
    assert (config.retry.max_attempts, config.retry.initial_delay) == (2, 0.25)
    assert config.retry.max_age == 3600.0
    assert config.middleware == ("sentry", "opentelemetry")
    assert config.on_termination == "Requeue"
    assert env[POD_NAME_ENV]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def config_of(task_queue: TaskQueueSpec) -> WorkerConfig:
    env = {variable["name"]: variable for variable in container(task_queue)["env"]}
    return WorkerConfig.from_json(env[WORKER_CONFIG_ENV]["value"])


def expanded(value: str, variables: dict[str, str]) -> str:
    """A variable's value as the kubelet hands it to a container."""
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))",
        lambda found: "$" if found[1] is None else variables.get(found[1], found[0]),
        value,
    )


def test_dollars_reach_the_worker_as_they_stand_in_the_spec() -> None:
    command = ["sh", "-c", "cat > /tmp/job.$$; echo $(LONGSHORE_QUEUE) $HOME ${PATH}"]
    task_queue = spec(
        worker={"image": "i", "isolation": "Exec", "command": command},
        queue={"name": "orders$$v1"},
    )
    env = {variable["name"]: variable for variable in container(task_queue)["env"]}

    config = WorkerConfig.from_json(
        expanded(env[WORKER_CONFIG_ENV]["value"], {"LONGSHORE_QUEUE": "media.transcode"})
    )

    assert list(config.command) == command
    assert config.source == "orders$$v1"


def test_prefetch_is_the_workers_own_business_unless_it_is_given() -> None:
    by_itself = spec(worker=worker(slots=2))
    given = spec(worker=worker(slots=2, prefetch=5), timeLimit={"hard": "1h", "killGrace": "5s"})

    assert timeouts(by_itself, features=V4_3).prefetch == 2
    assert config_of(by_itself).prefetch == "auto"
    assert timeouts(given, features=V4_3).prefetch == config_of(given).prefetch == 5
    # The fifth job may wait for two others before it has its slot.
    assert config_of(given).ack_timeout == 3 * 3605 + 120


def test_a_command_runs_jobs_in_place_of_handlers() -> None:
    runs = {"isolation": "Exec", "command": ["/app/convert", "--fast"]}
    config = config_of(spec(worker={"image": "registry.example/media:1", **runs}))

    assert (config.isolation, config.command) == ("Exec", ("/app/convert", "--fast"))
    assert config.handlers == ()


def test_replicas_are_left_to_the_scaler() -> None:
    assert not {"replicas", "strategy"} & rendered()["spec"].keys()


def test_the_deployment_goes_with_its_task_queue() -> None:
    (owner,) = rendered()["metadata"]["ownerReferences"]

    assert (owner["kind"], owner["name"], owner["uid"]) == ("TaskQueue", "transcode", "7e6c")


def test_a_pod_outlives_the_longest_job_it_may_have() -> None:
    assert pod()["spec"]["terminationGracePeriodSeconds"] == 7200 + 5 + 30


def test_long_jobs_forbid_eviction_and_short_ones_do_not() -> None:
    short = spec(timeLimit={"hard": "10m"})

    assert "cluster-autoscaler.kubernetes.io/safe-to-evict" in pod()["metadata"]["annotations"]
    assert set(pod(short)["metadata"]["annotations"]) == {"longshore.dev/broker"}


def test_workers_get_no_variables_of_the_services_around_them() -> None:
    """A thousand Services are some 100 KB of them: too much for a program to start with."""
    assert pod()["spec"]["enableServiceLinks"] is False


def test_workers_run_without_privileges_and_without_a_token() -> None:
    assert pod()["spec"]["automountServiceAccountToken"] is False
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_credentials_come_from_the_workers_secret_alone() -> None:
    assert container()["envFrom"] == [{"secretRef": {"name": "transcode-worker"}}]


def test_users_add_environment_but_cannot_replace_ours() -> None:
    task_queue = spec(
        worker=worker(
            env=[{"name": "BUCKET", "value": "in"}, {"name": WORKER_CONFIG_ENV, "value": "{}"}]
        )
    )
    env = {variable["name"]: variable.get("value") for variable in container(task_queue)["env"]}

    assert env["BUCKET"] == "in"
    assert env[WORKER_CONFIG_ENV] != "{}"
    assert len(env) == len(container(task_queue)["env"])


def test_a_pod_template_is_merged_by_name_and_keeps_the_selector_true() -> None:
    task_queue = spec(
        worker=worker(
            podTemplate={
                "metadata": {"labels": {"team": "video", "longshore.dev/task-queue": "other"}},
                "spec": {
                    "nodeSelector": {"gpu": "yes"},
                    "containers": [
                        {"name": "worker", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
                        {"name": "proxy", "image": "proxy:1"},
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            }
        )
    )
    template = pod(task_queue)

    assert template["metadata"]["labels"]["team"] == "video"
    assert template["metadata"]["labels"]["longshore.dev/task-queue"] == "transcode"
    assert [c["name"] for c in template["spec"]["containers"]] == ["worker", "proxy"]
    assert container(task_queue)["image"] == "registry.example/media:1"
    assert container(task_queue)["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert template["spec"]["nodeSelector"] == {"gpu": "yes"}


def test_workers_are_spread_and_evicted_a_few_at_a_time() -> None:
    spread = pod()["spec"]["topologySpreadConstraints"]
    budget = budget_manifest(OWNER)

    assert [each["topologyKey"] for each in spread] == [ZONE, NODE]
    for each in spread:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        assert each["labelSelector"] == budget["spec"]["selector"]
    assert budget["spec"]["maxUnavailable"] == "10%"
    assert budget["metadata"]["name"] == "transcode-worker"
