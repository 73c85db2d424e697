"""What was decided for an object is never done to another one of its name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dev.kube import Kube
from longshore_operator.adapters.kubernetes.cluster import Cluster
from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.errors import OperatorError, Transient
from tests.e2e.objects import deployment, task_queue
from tests.e2e.tenant import Tenant

ANOTHER = "11111111-1111-1111-1111-111111111111"
SCALED: dict[str, Any] = {"replicas": 1, "rollout": rollout(1, ceiling=3)}


@pytest.fixture
async def cluster(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    # The client has read KUBECONFIG when it was imported.
    read = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(read, kube.kubeconfig)
    cluster = await Cluster.connect(now=lambda: "")
    yield cluster
    await cluster.close()


async def test_a_status_is_written_to_no_other_task_queue(tenant: Tenant, cluster: Cluster) -> None:
    uid, where = task_queue(tenant, "work"), {"namespace": tenant.namespace, "name": "work"}
    status = {"queue": "written"}

    assert await cluster.put_task_queue_status(**where, uid=uid, status=status)
    assert not await cluster.put_task_queue_status(**where, uid=ANOTHER, status={"queue": "wrong"})
    assert tenant.status().get("queue") != "wrong"
    with pytest.raises(OperatorError):
        await cluster.put_task_queue_status(**where, uid=uid, status={"observedGeneration": "x"})
    where["name"] = "gone"
    assert not await cluster.put_task_queue_status(**where, uid=uid, status=status)


async def test_no_other_deployment_is_scaled(tenant: Tenant, cluster: Cluster) -> None:
    uid = deployment(tenant, "work", task_queue(tenant, "work"))
    where: dict[str, Any] = {"namespace": tenant.namespace, "name": "work-worker"}

    for name in ("work-worker", "gone-worker"):
        with pytest.raises(Transient) as refused:
            await cluster.scale(**where | {"name": name}, uid=ANOTHER, **SCALED)
        assert refused.value.reason == "Conflict"
    with pytest.raises(Transient) as refused:
        await cluster.rescale(**where, uid=ANOTHER, before=1, to=1, rollout=SCALED["rollout"])
    assert refused.value.reason == "Conflict"
    assert await cluster.scale(**where, uid=uid, **SCALED) >= 1
