"""A pod template may add much, but undo nothing that Longshore promises."""

from contextlib import suppress
from typing import Any

import pytest

from longshore_operator.core.kubernetes.workload import deployment_manifest, timeouts
from longshore_operator.errors import Invalid
from tests.pod_templates import FIT, MISSHAPEN, REMOVED, UNFIT
from tests.unit.operator.specs import OWNER, V4_3, spec, worker


def rendered(template: Any, **more: Any) -> dict[str, Any]:
    task_queue = spec(timeLimit={"hard": "60s"}, worker=worker(podTemplate=template, **more))
    made = deployment_manifest(
        OWNER,
        spec=task_queue,
        timeouts=timeouts(task_queue, features=V4_3),
        heartbeat=30.0,
        broker="rabbit:5672/longshore",
    )
    pod: dict[str, Any] = made["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("case", [*UNFIT, *(f"no {name}" for name in REMOVED)])
def test_what_undoes_a_promise_is_refused_by_its_field(case: str) -> None:
    cases = UNFIT | {f"no {name}": each for name, each in REMOVED.items()}
    template, field = cases[case]

    with pytest.raises(Invalid) as refused:
        rendered(template)

    assert refused.value.reason == "PodTemplateUnfit"
    assert field in str(refused.value)


@pytest.mark.parametrize("case", FIT)
def test_what_undoes_none_is_taken(case: str) -> None:
    (container,) = (c for c in rendered(FIT[case])["containers"] if c["name"] == "worker")

    assert container["envFrom"][-1] == {"secretRef": {"name": "transcode-worker"}}


@pytest.mark.parametrize("case", MISSHAPEN)
def test_what_is_no_pod_template_crashes_nothing(case: str) -> None:
    """Where nothing is said of it here, Kubernetes refuses it."""
    with suppress(Invalid):
        rendered(MISSHAPEN[case])


def test_the_workers_secret_is_read_after_the_users_sources() -> None:
    mine = {"configMapRef": {"name": "settings"}}
    template = {"spec": {"containers": [{"name": "worker", "envFrom": [mine]}]}}

    (container,) = rendered(template)["containers"]

    assert container["envFrom"] == [mine, {"secretRef": {"name": "transcode-worker"}}]
    assert template["spec"]["containers"][0]["envFrom"] == [mine], "the user's spec was changed"


def test_an_address_by_worker_env_is_refused() -> None:
    with pytest.raises(Invalid, match="LONGSHORE_AMQP_URL"):
        rendered({}, env=[{"name": "LONGSHORE_AMQP_URL", "value": "amqp://elsewhere"}])


@pytest.mark.parametrize("requeue", [False, True])
def test_interrupted_jobs_need_less_grace(requeue: bool) -> None:
    template = {"spec": {"terminationGracePeriodSeconds": 65}}
    task_queue = spec(
        timeLimit={"hard": "60s"},
        worker=worker(podTemplate=template),
        onTermination="Requeue" if requeue else "Finish",
    )

    def made() -> None:
        limits = timeouts(task_queue, features=V4_3)
        deployment_manifest(OWNER, spec=task_queue, timeouts=limits, heartbeat=30.0, broker="b")

    if requeue:
        made()
    else:
        with pytest.raises(Invalid, match="at least 95"):
            made()


def test_no_source_of_variables_moves_the_workers_last_words() -> None:
    """Variables of the container win over those that a ConfigMap brings."""
    (container,) = rendered({})["containers"]

    assert {"name": "LONGSHORE_TERMINATION_LOG", "value": "/dev/termination-log"} in container[
        "env"
    ]
