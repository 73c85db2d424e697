"""Names, addresses and places of the embedded cluster: whatever bears them is ours to remove."""

from __future__ import annotations

from pathlib import Path

from dev import paths

NODE = "longshore"
NETWORK = "longshore"
BRIDGE = "longshore0"
# Every process of every pod is below this cgroup, in each hierarchy.
CGROUP = "longshore-dev"
# Beside the pods, so that containers which start have to share with those that run.
DAEMONS = f"{CGROUP}/system"

HOST = "10.244.0.1"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
API = "https://127.0.0.1:6443"
ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"
DNS_READY = f"http://{HOST}:8181/ready"
DOMAIN = "cluster.local"

# Sockets, namespaces, mounts of containers: gone with the machine's boot.
RUN = paths.RUN / "cluster"
CONTAINERD_SOCKET = RUN / "containerd.sock"


def state() -> Path:
    """Made anew at each start."""
    return paths.state() / "cluster"


def images() -> Path:
    """containerd's store: loaded images outlive the cluster."""
    return paths.cache() / "containerd"


def kubeconfig() -> Path:
    return state() / "admin.kubeconfig"


def containerd_config() -> Path:
    return state() / "containerd.toml"
