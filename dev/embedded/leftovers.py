"""Everything of an embedded cluster that is on this machine, whoever left it, and its removal.

What is ours is told by what it is (the program it runs, the cgroup it is in, the folder it is
mounted in), not by notes that a crash may have left stale.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from dev import commands, paths, processes
from dev.binaries import COMPONENTS
from dev.embedded import layout
from dev.errors import CommandFailed, DevError
from dev.processes import Identity

CGROUPS = Path("/sys/fs/cgroup")
OUR_CHAIN = re.compile(r"KUBE-\S+")
FIREWALLS = ("iptables", "ip6tables")
TABLES = ("nat", "filter", "mangle")
CNI_NOTES = Path("/var/lib/cni/results")
CGROUP_PATIENCE = 10.0


def sweep() -> None:
    """Leave no process, mount, cgroup, link, network namespace or firewall chain of ours."""
    _refuse_beside_another_kubernetes()
    # Not SIGTERM: the API server takes a minute over it. Kubelet and containerd's shims go in the
    # same moment, so that nobody restarts what is killed next.
    processes.end(list(ours()))
    _empty_cgroups()
    _unmount()
    if stuck := _mounts():
        # What is deleted below a mount may be someone's data.
        raise DevError(f"{stuck[0]} can't be unmounted")
    shutil.rmtree(layout.RUN, ignore_errors=True)
    for note in CNI_NOTES.glob(f"{layout.NETWORK}-*"):
        note.unlink()
    _remove_links()
    _remove_chains()


def found() -> list[str]:
    """What is there, a line each, for people and tests."""
    lines = [f"process {each.pid}" for each in ours()]
    lines += [f"cgroup {folder}" for folder in _cgroups()]
    lines += [f"mount {place}" for place in _mounts()]
    lines += [f"link {link}" for link in _links()]
    for firewall in _firewalls():
        for table in TABLES:
            chains, _ = _rules(firewall, table)
            lines += [f"{firewall} {table} {chain}" for chain in chains]
    return lines


def ours() -> Iterator[Identity]:
    """Components, containerd and its shims, by program and arguments."""
    for folder in processes.PROC.iterdir():
        if not folder.name.isdigit():
            continue
        # Identity first: were the pid reused in between, it would no longer match.
        identity = processes.identify(int(folder.name))
        if identity and _is_ours(folder):
            yield identity


def _refuse_beside_another_kubernetes() -> None:
    # Its firewall chains bear the same names as ours.
    for folder in processes.PROC.glob("[0-9]*"):
        try:
            names = [Path(os.readlink(folder / "exe")).name, (folder / "comm").read_text().strip()]
        except OSError:
            continue
        if {"kubelet", "kube-proxy"} & set(names) and not _is_ours(folder):
            raise DevError(
                f"another Kubernetes runs on this machine ({names[1]}, pid {folder.name}):"
                " use it by LONGSHORE_CLUSTER=kubeconfig, or stop it"
            )


def _is_ours(process: Path) -> bool:
    try:
        program = os.readlink(process / "exe").removesuffix(" (deleted)")
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    if Path(program).is_relative_to(paths.cache() / "bin"):
        return Path(words[0]).name in (*COMPONENTS, "coredns")
    if Path(program).name == "containerd":
        return str(layout.containerd_config()) in words
    return Path(program).name.startswith("containerd-shim") and (
        str(layout.CONTAINERD_SOCKET) in words
    )


def _empty_cgroups() -> None:
    deadline = time.monotonic() + CGROUP_PATIENCE
    while folders := list(_cgroups()):
        members = {pid for folder in folders for pid in _members(folder)}
        processes.end([each for pid in members if (each := processes.identify(pid))])
        for folder in folders:
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise DevError(f"cgroup {folder} can't be removed") from None
                time.sleep(0.01)


def _cgroups() -> Iterator[Path]:
    """Our cgroups in every hierarchy, deepest first."""
    tops = [CGROUPS / layout.CGROUP, *CGROUPS.glob(f"*/{layout.CGROUP}")]
    for top in tops:
        for folder, _, _ in os.walk(top, topdown=False):
            yield Path(folder)


def _members(cgroup: Path) -> list[int]:
    try:
        return [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _unmount() -> None:
    for place in _mounts():
        # Lazily: whoever still had it open has just been killed and may take a moment to be gone.
        commands.succeeds(["umount", "--lazy", place])


def _mounts() -> list[str]:
    """Mount points in our folders, the last mounted first."""
    tops = (layout.RUN, layout.state(), layout.images())
    places = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        if any(Path(place).is_relative_to(top) for top in tops):
            places.append(place)
    return places[::-1]


def _remove_links() -> None:
    for link in _links():
        # Its other end, in a namespace that has just gone, may have taken it along.
        commands.succeeds(["ip", "link", "delete", link])


def _links() -> list[str]:
    """The bridge and the host's end of every pod's link, which are plugged into it."""
    links = Path("/sys/class/net")
    plugged = [each.name for each in (links / layout.BRIDGE / "brif").glob("*")]
    return plugged + ([layout.BRIDGE] if (links / layout.BRIDGE).exists() else [])


def _remove_chains() -> None:
    for firewall in _firewalls():
        for table in TABLES:
            chains, jumps = _rules(firewall, table)
            if not chains:
                continue
            # Rules go one by one and chains whole: those of others are not touched.
            for rule in jumps:
                commands.output([firewall, "-w", "-t", table, "-D", *shlex.split(rule)])
            for order in ("-F", "-X"):
                for chain in chains:
                    commands.output([firewall, "-w", "-t", table, order, chain])


def _rules(firewall: str, table: str) -> tuple[list[str], list[str]]:
    """Our chains of a table, and the rules in other chains that jump to them."""
    try:
        lines = commands.output([firewall, "-w", "-t", table, "-S"]).splitlines()
    except CommandFailed:
        return [], []
    chains = [line.split()[1] for line in lines if line.startswith("-N ")]
    chains = [chain for chain in chains if OUR_CHAIN.fullmatch(chain)]
    jumps = []
    for line in lines:
        words = line.split()
        if words[0] == "-A" and words[1] not in chains and set(words) & set(chains):
            jumps.append(line.removeprefix("-A "))
    return chains, jumps


def _firewalls() -> list[str]:
    return [each for each in FIREWALLS if commands.found(each)]
