"""The command line of each component, with only the options that differ from the default."""

from __future__ import annotations

from pathlib import Path

from dev.embedded import layout


def etcd(programs: Path) -> list[str]:
    return [
        str(programs / "etcd"),
        f"--data-dir={layout.state() / 'etcd'}",
        f"--listen-client-urls={layout.ETCD}",
        f"--advertise-client-urls={layout.ETCD}",
        f"--listen-peer-urls={layout.ETCD_PEER}",
        # What a crash of the machine would lose is a development cluster.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def containerd() -> list[str]:
    return ["containerd", "--config", str(layout.containerd_config())]


def apiserver(programs: Path) -> list[str]:
    pki = layout.state() / "pki"
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers={layout.ETCD}",
        # Pods reach it at the bridge, people at 127.0.0.1.
        "--bind-address=0.0.0.0",
        f"--advertise-address={layout.HOST}",
        f"--service-cluster-ip-range={layout.SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-issuer=https://kubernetes.default.svc.{layout.DOMAIN}",
        f"--service-account-key-file={pki / 'service-accounts.key'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver.crt'}",
        f"--kubelet-client-key={pki / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        # Aggregated APIs (a metrics adapter) are called in the name of the one who asked.
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy.key'}",
    ]


def controller_manager(programs: Path) -> list[str]:
    state = layout.state()
    return [
        str(programs / "kube-controller-manager"),
        f"--kubeconfig={state / 'controller-manager.kubeconfig'}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={state / 'pki/service-accounts.key'}",
        f"--root-ca-file={state / 'pki/ca.crt'}",
        f"--cluster-signing-cert-file={state / 'pki/ca.crt'}",
        f"--cluster-signing-key-file={state / 'pki/ca.key'}",
    ]


def scheduler(programs: Path) -> list[str]:
    kubeconfig = layout.state() / "scheduler.kubeconfig"
    return [
        str(programs / "kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
    ]


def kubelet(programs: Path) -> list[str]:
    state = layout.state()
    return [
        str(programs / "kubelet"),
        f"--config={state / 'kubelet.json'}",
        f"--kubeconfig={state / 'node.kubeconfig'}",
        f"--root-dir={state / 'kubelet'}",
        f"--cert-dir={state / 'kubelet-pki'}",
        f"--hostname-override={layout.NODE}",
        f"--node-ip={layout.HOST}",
    ]


def proxy(programs: Path) -> list[str]:
    return [
        str(programs / "kube-proxy"),
        f"--kubeconfig={layout.state() / 'proxy.kubeconfig'}",
        f"--hostname-override={layout.NODE}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={layout.PODS}",
        "--nodeport-addresses=primary",
        # 0 leaves conntrack's sysctls alone: a container may not write them.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]


def coredns(program: Path) -> list[str]:
    return [str(program), "-conf", str(layout.state() / "Corefile")]
