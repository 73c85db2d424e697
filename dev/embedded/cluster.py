"""Bring the embedded cluster up, take it down, load images into it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dev import (
    api,
    binaries,
    buildah,
    builds,
    commands,
    packages,
    processes,
    progress,
    recipes,
)
from dev.cache import lock
from dev.embedded import certificates, components, configuration, layout, leftovers
from dev.errors import DevError, NotReady
from dev.recipes import Recipe

DEADLINE = 90.0
PROCESSES = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
)
# The API server shows containers' logs and runs commands in them by asking the kubelet.
MAY_ASK_KUBELET = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "longshore-dev:apiserver-kubelet"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:kubelet-api-admin",
    },
    "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver"}
    ],
}


class Embedded:
    """Kubernetes as processes of this machine."""

    kind = "embedded"

    def up(self) -> None:
        """A running cluster; one that is healthy is kept, anything else is swept away first."""
        with lock("cluster"):
            if self.healthy():
                return
            packages.require_root("the embedded cluster")
            packages.require(packages.CLUSTER)
            programs, dns = binaries.kubernetes(), binaries.coredns()
            pause = recipes.pause()
            leftovers.sweep()
            _prepare(pause)
            _start(programs, dns=dns, pause=pause)

    def down(self) -> None:
        with lock("cluster"):
            if any(leftovers.found()):
                packages.require_root("taking the embedded cluster down")
                leftovers.sweep()

    def healthy(self) -> bool:
        alive = all(processes.remembered(name, state=layout.state()) for name in PROCESSES)
        return alive and _api().ready() and _node_ready() and api.serves(layout.DNS_READY)

    def holds(self, reference: str) -> bool:
        return commands.output([*_ctr(), "images", "ls", "-q", f"name=={reference}"]) != ""

    def load(self, archive: Path) -> None:
        commands.run_long(f"loading {archive.stem}", [*_ctr(), "images", "import", archive])

    def restart(self, name: str, *, after: float) -> None:
        """Kill a component, as its end would be on any node, and start it again `after` seconds."""
        programs = binaries.kubernetes()
        command = {
            "kube-apiserver": components.apiserver,
            "kube-controller-manager": components.controller_manager,
            "kube-scheduler": components.scheduler,
        }[name]
        processes.stop(name, state=layout.state())
        time.sleep(after)
        _run(name, command(programs))
        if name == "kube-apiserver":
            _await(name, _api().ready)

    @property
    def kubeconfig(self) -> Path:
        return layout.kubeconfig()

    @property
    def kubectl(self) -> Path:
        return binaries.kubernetes() / "kubectl"


def _prepare(pause: Recipe) -> None:
    shutil.rmtree(layout.state(), ignore_errors=True)
    layout.state().mkdir(parents=True)
    layout.RUN.mkdir(parents=True)
    certificates.make(layout.state() / "pki")
    configuration.write(pause_image=pause.reference)
    commands.output(["ip", "link", "add", layout.BRIDGE, "type", "bridge"])
    commands.output(["ip", "address", "add", f"{layout.HOST}/24", "dev", layout.BRIDGE])
    commands.output(["ip", "link", "set", layout.BRIDGE, "up"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _make_cgroups()


def _make_cgroups() -> None:
    # cgroup v2 has its controllers at the top, v1 has a hierarchy for each.
    if (leftovers.CGROUPS / "cgroup.controllers").exists():
        (leftovers.CGROUPS / layout.CGROUP).mkdir()
    else:
        for hierarchy in leftovers.CGROUPS.iterdir():
            if (hierarchy / "cgroup.procs").exists() and not hierarchy.is_symlink():
                (hierarchy / layout.CGROUP).mkdir()
    _daemons().mkdir()


def _daemons() -> Path:
    """The cgroup that shares the CPUs out between the daemons and the pods.

    As on a node with systemd (system.slice beside kubepods.slice): at the top each of their threads
    would weigh as much as all pods together, and twenty containers that start would leave next to
    nothing to those that run.
    """
    version_1 = leftovers.CGROUPS / "cpu"
    return (version_1 if version_1.exists() else leftovers.CGROUPS) / layout.DAEMONS


def _start(programs: Path, *, dns: Path, pause: Recipe) -> None:
    with progress.step("Kubernetes API"):
        _run("etcd", components.etcd(programs))
        _run("kube-apiserver", components.apiserver(programs))
        _run("containerd", components.containerd())
        _await("containerd", lambda: commands.succeeds([*_ctr(), "version"]))
        _forget_old_containers()
        _await("kube-apiserver", _api().ready)
    with progress.step("node and DNS"):
        _run("kube-controller-manager", components.controller_manager(programs))
        _run("kube-scheduler", components.scheduler(programs))
        _run("kube-proxy", components.proxy(programs))
        _run("coredns", components.coredns(dns))
        if not Embedded().holds(pause.reference):
            _load_pause(pause)
        _run("kubelet", components.kubelet(programs))
        _await("kube-apiserver", _allow_kubelet_calls)
        # It gives up when containerd's CRI part is still reading its store, which only the CRI
        # tells: on other nodes systemd starts it again.
        _await("kubelet", _node_ready, ended=lambda: _run("kubelet", components.kubelet(programs)))
        _await("coredns", lambda: api.serves(layout.DNS_READY))
        # The first pod of a namespace is refused while it has none.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        _await("kube-controller-manager", lambda: _api().get(account) is not None)


def _forget_old_containers() -> None:
    """Drop what an earlier cluster left in containerd's store; its images stay."""
    old = commands.output([*_ctr(), "containers", "ls", "-q"]).split()
    if not old:
        return
    commands.output([*_ctr(), "containers", "rm", *old])
    # The CRI plugin read them at its start and would tell the kubelet of them.
    processes.stop("containerd", state=layout.state())
    _run("containerd", components.containerd())
    _await("containerd", lambda: commands.succeeds([*_ctr(), "version"]))


def _load_pause(image: Recipe) -> None:
    with tempfile.TemporaryDirectory(prefix="longshore-pause-") as work:
        archive = Path(work) / "pause.tar"
        buildah.save(builds.build(image), archive)
        Embedded().load(archive)


def _run(name: str, command: list[str]) -> None:
    started = processes.start(name, command, state=layout.state())
    (_daemons() / "cgroup.procs").write_text(str(started.pid))


def _await(
    name: str, ready: Callable[[], bool], *, ended: Callable[[], None] | None = None
) -> None:
    """Wait until it is ready; one that has ended will never be, unless `ended` starts it again."""
    deadline = time.monotonic() + DEADLINE
    log = layout.state() / f"{name}.log"
    while not ready():
        if not processes.remembered(name, state=layout.state()):
            if not ended:
                raise DevError(f"{name} ended: see {log}")
            ended()
        if time.monotonic() > deadline:
            raise NotReady(f"{name} is not ready after {DEADLINE:.0f} s: see {log}")
        time.sleep(0.1)


def _api() -> api.Api:
    return api.Api(server=layout.API, pki=layout.state() / "pki")


def _allow_kubelet_calls() -> bool:
    return _api().create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", MAY_ASK_KUBELET)


def _node_ready() -> bool:
    node = _api().get(f"/api/v1/nodes/{layout.NODE}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ctr() -> list[str]:
    return ["ctr", f"--address={layout.CONTAINERD_SOCKET}", "--namespace=k8s.io"]
