from typing import Any

from longshore_operator.app.scaling.autoscalers import Autoscalers
from longshore_operator.app.watched.objects import task_queue
from longshore_operator.app.watched.world import World
from tests.unit.operator.kubernetes import Kubernetes


def hpa(name: str, *, target: str, namespace: str = "media", kind: str = "Deployment") -> Any:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}},
    }


async def test_an_autoscaler_of_others_is_known_by_the_deployment_that_it_scales() -> None:
    body = {"metadata": {"namespace": "media", "name": "transcode"}, "spec": {}}
    world = World(queues={("media", "transcode"): [task_queue(body)]})
    kubernetes = Kubernetes(
        hpas=[
            hpa("keda-hpa-transcode", target="transcode-worker"),
            hpa("web", target="web"),
            hpa("stateful", target="transcode-worker", kind="StatefulSet"),
            hpa("elsewhere", target="transcode-worker", namespace="billing"),
        ]
    )

    await Autoscalers(world=world, cluster=kubernetes, namespace=None).look()
    assert world.autoscalers == {("media", "transcode"): "keda-hpa-transcode"}

    kubernetes.hpas.clear()
    await Autoscalers(world=world, cluster=kubernetes, namespace=None).look()
    assert world.autoscalers == {}
