"""The files the components read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dev.embedded import layout

CNI_PROGRAMS = "/usr/lib/cni"
KUBECONFIGS = ("admin", "controller-manager", "scheduler", "proxy", "node")


def write(*, pause_image: str) -> None:
    """Write every file; certificates are there already."""
    state = layout.state()
    for name in KUBECONFIGS:
        (state / f"{name}.kubeconfig").write_text(_kubeconfig(state / "pki", name))
    (state / "kubelet.json").write_text(json.dumps(_kubelet(state / "pki"), indent=2))
    (state / "Corefile").write_text(_corefile(state))
    (state / "cni").mkdir()
    (state / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(state), indent=2))
    layout.containerd_config().write_text(_containerd(state, pause_image=pause_image))


def _kubeconfig(pki: Path, name: str) -> str:
    cluster = {"server": layout.API, "certificate-authority": str(pki / "ca.crt")}
    user = {
        "client-certificate": str(pki / f"{name}.crt"),
        "client-key": str(pki / f"{name}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "longshore", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "longshore", "context": {"cluster": "longshore", "user": name}}],
        "current-context": "longshore",
    }
    return json.dumps(config, indent=2)


def _kubelet(pki: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{layout.CONTAINERD_SOCKET}",
        "clusterDomain": layout.DOMAIN,
        "clusterDNS": [layout.HOST],
        "resolvConf": "",
        # Kubernetes 1.36 refuses cgroup v1 unless told otherwise; some machines have nothing else.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.CGROUP}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        # Loaded images can't be pulled again, so they are never collected; a full disk evicts late.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "maxPods": 200,
    }


def _corefile(state: Path) -> str:
    # Nothing is forwarded: pods of this cluster reach each other, not the outside.
    return f"""\
.:53 {{
  bind {layout.HOST}
  errors
  ready {layout.HOST}:8181
  kubernetes {layout.DOMAIN} {{
    kubeconfig {state / "admin.kubeconfig"}
  }}
  cache 5
}}
"""


def _pod_network(state: Path) -> dict[str, Any]:
    # No port of the node, no way out of it: pods speak with the node and with each other.
    bridge = {
        "type": "bridge",
        "bridge": layout.BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state / "addresses"),
            "ranges": [[{"subnet": layout.PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": layout.NETWORK, "plugins": [bridge]}


def _containerd(state: Path, *, pause_image: str) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no process may lower its score, and every
    # sandbox would fail with an unrelated message about a pipe.
    return f"""\
version = 2
root = "{layout.images()}"
state = "{layout.RUN / "containerd"}"

[grpc]
  address = "{layout.CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{pause_image}"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_PROGRAMS}"
  conf_dir = "{state / "cni"}"
"""
