"""Pod templates that undo a promise, and some that do not; for the API server and the operator."""

from typing import Any


def worker(**fields: Any) -> dict[str, Any]:
    """A template that sets fields of the worker's container."""
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


SIDECAR = {"name": "proxy", "image": "proxy:1"}

UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "short grace": (
        {"spec": {"terminationGracePeriodSeconds": 3}},
        "terminationGracePeriodSeconds",
    ),
    "grace without drain": (
        {"spec": {"terminationGracePeriodSeconds": 94}},
        "terminationGracePeriodSeconds",
    ),
    "no grace at all": ({"spec": {"terminationGracePeriodSeconds": 0}}, "terminationGrace"),
    "never restarted": ({"spec": {"restartPolicy": "Never"}}, "restartPolicy"),
    "a deadline for the pod": ({"spec": {"activeDeadlineSeconds": 60}}, "activeDeadlineSeconds"),
    "the node's network": ({"spec": {"hostNetwork": True}}, "hostNetwork"),
    "another command": (worker(command=["sleep", "inf"]), "command"),
    "other arguments": (worker(args=["--fast"]), "args"),
    "a wait before the end": (
        worker(lifecycle={"preStop": {"sleep": {"seconds": 60}}}),
        "lifecycle",
    ),
    "another stop signal": (worker(lifecycle={"stopSignal": "SIGKILL"}), "lifecycle"),
    "a startup probe": (worker(startupProbe={"exec": {"command": ["true"]}}), "startupProbe"),
    "another liveness probe": (
        worker(livenessProbe={"exec": {"command": ["false"]}}),
        "livenessProbe",
    ),
    "liveness elsewhere": (
        worker(livenessProbe={"httpGet": {"path": "/", "port": 8080}}),
        "livenessProbe",
    ),
    "a quick liveness probe": (worker(livenessProbe={"failureThreshold": 1}), "failureThreshold"),
    "a grace of the probe's own": (
        worker(livenessProbe={"terminationGracePeriodSeconds": 1}),
        "livenessProbe.terminationGracePeriodSeconds",
    ),
    "another readiness probe": (
        worker(readinessProbe={"tcpSocket": {"port": 9090}}),
        "readinessProbe",
    ),
    "a container that is not restarted": (worker(restartPolicy="Never"), "restartPolicy"),
    "rules for restarts": (
        worker(restartPolicyRules=[{"action": "Restart"}]),
        "restartPolicyRules",
    ),
    "last words elsewhere": (
        worker(terminationMessagePath="/tmp/last-words"),
        "terminationMessagePath",
    ),
    "another configuration": (
        worker(env=[{"name": "LONGSHORE_WORKER_CONFIG", "value": "{}"}]),
        "LONGSHORE_WORKER_CONFIG",
    ),
    "another address": (
        worker(env=[{"name": "LONGSHORE_AMQP_URL", "value": "amqp://elsewhere"}]),
        "LONGSHORE_AMQP_URL",
    ),
    "last words elsewhere by a variable": (
        worker(env=[{"name": "LONGSHORE_TERMINATION_LOG", "value": "/dev/null"}]),
        "LONGSHORE_TERMINATION_LOG",
    ),
    "a port of the node": (
        worker(ports=[{"containerPort": 9090, "hostPort": 9090}]),
        "hostPort",
    ),
    "a port of the node for a sidecar": (
        {"spec": {"containers": [SIDECAR | {"ports": [{"containerPort": 80, "hostPort": 80}]}]}},
        "hostPort",
    ),
    "a port of the node for a sidecar that starts first": (
        {
            "spec": {
                "initContainers": [SIDECAR | {"ports": [{"containerPort": 80, "hostPort": 80}]}]
            }
        },
        "hostPort",
    ),
    "another name": (worker(env=[{"name": "LONGSHORE_POD_NAME", "value": "x"}]), "POD_NAME"),
}
"""For a hard limit of 60s: template, and what is said of it."""

REMOVED: dict[str, tuple[dict[str, Any], str]] = {
    "grace": ({"spec": {"terminationGracePeriodSeconds": None}}, "terminationGracePeriodSeconds"),
    "liveness probe": (worker(livenessProbe=None), "livenessProbe"),
    "readiness probe": (worker(readinessProbe=None), "readinessProbe"),
    "room to start": (worker(lifecycle=None), "lifecycle"),
    "environment": (worker(env=None), "LONGSHORE_WORKER_CONFIG"),
}
"""The same for null, which takes away what Longshore sets."""

MISSHAPEN: dict[str, dict[str, Any]] = {
    "annotations in a list": {"metadata": {"annotations": ["x"]}},
    "annotations that are no text": {"metadata": {"annotations": {"a": 1}}},
    "metadata of text": {"metadata": "x"},
    "containers in a mapping": {"spec": {"containers": {"name": "worker"}}},
    "a container without a name": {"spec": {"containers": [{"image": "x"}]}},
    "environment in a mapping": worker(env={"A": "b"}),
}
"""No pod templates at all."""

FIT: dict[str, dict[str, Any]] = {
    "volumes, a sidecar and a selector": {
        "metadata": {"labels": {"team": "video"}, "annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [
                {"name": "worker", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
                {
                    "name": "proxy",
                    "image": "proxy:1",
                    "command": ["proxy"],
                    "args": ["--fast"],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                    "livenessProbe": {"tcpSocket": {"port": 80}, "failureThreshold": 1},
                },
            ],
        },
    },
    "a longer grace": {"spec": {"terminationGracePeriodSeconds": 3600}},
    "a patient liveness probe": worker(livenessProbe={"timeoutSeconds": 20, "periodSeconds": 30}),
    "a readiness probe at other times": worker(readinessProbe={"periodSeconds": 1}),
    "variables and their sources": worker(
        env=[{"name": "BUCKET", "value": "in"}, {"name": "LONGSHORE_PLAY", "value": "x"}],
        envFrom=[{"configMapRef": {"name": "settings"}}],
    ),
    "ports of its own": worker(
        ports=[
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP", "hostPort": 0},
        ]
    ),
    "shared processes, privileges, resources": {
        "spec": {
            "shareProcessNamespace": True,
            "hostNetwork": False,
            "serviceAccountName": "x",
            "priorityClassName": "high",
            "containers": [
                {
                    "name": "worker",
                    "resources": {"limits": {"memory": "1Gi"}},
                    "securityContext": {"runAsUser": 1000},
                }
            ],
        }
    },
}
"""What people do with pod templates."""
