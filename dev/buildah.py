"""Container images without an engine: buildah, with its storage in our cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dev import commands, packages, paths


def build(
    reference: str,
    *,
    context: Path,
    arguments: Mapping[str, str],
    secrets: Mapping[str, Path],
) -> None:
    """Build the Dockerfile in `context`; unchanged layers come from earlier builds."""
    command = [*_buildah(), "build", "--quiet", "--layers", "--force-rm", "--isolation", "oci"]
    # Buildah would take crun where that is, and crun runs nothing on cgroups of both versions.
    command += ["--runtime", "runc"]
    # The build resolves names and reaches registries as the machine itself does.
    command += ["--network", "host"]
    for key, value in arguments.items():
        command += ["--build-arg", f"{key}={value}"]
    for key, file in secrets.items():
        command += ["--secret", f"id={key},src={file}"]
    commands.run_long(f"image {reference}", [*command, "--tag", reference, str(context)])


def holds(reference: str) -> bool:
    return (paths.cache() / "containers").is_dir() and commands.succeeds(
        [*_buildah(), "inspect", "--type", "image", "--format", "{{.FromImageID}}", reference]
    )


def save(reference: str, archive: Path) -> None:
    # docker-archive, for an OCI archive would be compressed: twice the time, to be undone at once.
    destination = f"docker-archive:{archive}:{reference}"
    commands.output([*_buildah(), "push", "--quiet", reference, destination])


def export_root(reference: str, folder: Path) -> None:
    """Copy an image's files into a folder."""
    container = commands.output([*_buildah(), "from", reference])
    try:
        mounted = commands.output([*_buildah(), "mount", container])
        commands.run_long(f"root of {reference}", ["cp", "-a", f"{mounted}/.", folder])
    finally:
        commands.output([*_buildah(), "rm", container])


def _buildah() -> list[str]:
    packages.require(packages.IMAGES)
    packages.require_root("building images")
    storage = paths.cache() / "containers"
    run = paths.RUN / "containers"
    return [
        "buildah",
        "--storage-driver=overlay",
        f"--root={storage}",
        f"--runroot={run}",
        # Otherwise the storage stays mounted upon itself after every command.
        "--storage-opt=overlay.skip_mount_home=true",
    ]
