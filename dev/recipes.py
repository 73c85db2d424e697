"""How each image is made: what it stands on, what goes in, and the name that follows from both."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev import binaries, commands, packages, paths
from dev.cache import content_key, lock, made_once
from dev.rabbitmq import Series

DOCKERFILES = paths.SOURCES / "dockerfiles"
# Half of what debootstrap makes, and of no use in an image; folders as small-dpkg.cfg names them.
UNREAD = (
    *(f"usr/share/{name}" for name in ("doc", "info", "locale", "man")),
    *("var/cache/apt", "var/lib/apt/lists"),
)
# What the wheel is built of. The wheel itself is no input: its bytes depend on who builds it.
WHEEL_SOURCES = (
    "pyproject.toml",
    "README.md",
    "worker_image/longshore",
    "worker_image/longshore_worker.py",
    "operator/longshore_operator",
)


@dataclass(frozen=True)
class Recipe:
    """An image; `fill` puts the Dockerfile and all it copies into an empty context folder."""

    reference: str
    fill: Callable[[Path], None]
    base: Recipe | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)


def debian(suite: str) -> Recipe:
    """A Debian suite as debootstrap makes it: no image registry is asked."""
    folder = DOCKERFILES / "debian"

    def fill(context: Path) -> None:
        packages.require_root("debootstrap")
        packages.require(packages.IMAGES)
        root = context / "root"
        commands.run_long(f"Debian {suite}", ["debootstrap", "--variant=minbase", suite, root])
        for unread in UNREAD:
            shutil.rmtree(root / unread)
            (root / unread).mkdir()
        commands.output(["tar", "-C", root, "-cf", context / "rootfs.tar", "."])
        shutil.rmtree(root)
        shutil.copytree(folder, context, dirs_exist_ok=True)

    key = content_key(files=[folder], values=[suite, *UNREAD])
    return Recipe(reference=f"localhost/longshore-debian-{suite}:{key}", fill=fill)


def python() -> Recipe:
    return _of_folder("longshore-python", DOCKERFILES / "python", base=debian("trixie"))


def rabbitmq(series: Series) -> Recipe:
    return _of_folder(
        f"longshore-rabbitmq-{series.name}",
        DOCKERFILES / "rabbitmq",
        base=debian(series.suite),
        arguments={"SERIES": series.name},
    )


def pause() -> Recipe:
    """What holds a pod's namespaces: a static program and nothing else."""
    folder = DOCKERFILES / "pause"

    def fill(context: Path) -> None:
        shutil.copy(folder / "Dockerfile", context)
        shutil.copy(binaries.pause(), context)

    return Recipe(reference=f"localhost/longshore-pause:{content_key(files=[folder])}", fill=fill)


def application(name: str, *, dockerfile: Path, base: Recipe | str) -> Recipe:
    """Longshore's wheel and its pinned requirements on a Python image."""
    requirements = paths.REPO / "requirements" / f"{name}.txt"

    def fill(context: Path) -> None:
        shutil.copy(dockerfile, context / "Dockerfile")
        (context / "requirements").mkdir()
        shutil.copy(requirements, context / "requirements")
        shutil.copytree(_wheel(), context / "dist")

    inputs = [dockerfile, requirements, *_wheel_sources()]
    return _standing_on(base, name=f"longshore-{name}", files=inputs, fill=fill)


def example(name: str, *, base: Recipe) -> Recipe:
    return _of_folder(f"longshore-example-{name}", paths.REPO / "examples" / name, base=base)


def _of_folder(
    name: str,
    folder: Path,
    *,
    base: Recipe,
    arguments: Mapping[str, str] | None = None,
) -> Recipe:
    def fill(context: Path) -> None:
        shutil.copytree(folder, context, dirs_exist_ok=True)

    return _standing_on(base, name=name, files=[folder], fill=fill, arguments=arguments)


def _standing_on(
    base: Recipe | str,
    *,
    name: str,
    files: list[Path],
    fill: Callable[[Path], None],
    arguments: Mapping[str, str] | None = None,
) -> Recipe:
    below = base.reference if isinstance(base, Recipe) else base
    arguments = {"BASE": below, **(arguments or {})}
    key = content_key(files=files, values=[f"{key}={value}" for key, value in arguments.items()])
    return Recipe(
        reference=f"localhost/{name}:{key}",
        fill=fill,
        base=base if isinstance(base, Recipe) else None,
        arguments=arguments,
    )


def _wheel() -> Path:
    """A folder that holds Longshore's wheel."""

    def make(folder: Path) -> None:
        venv = paths.REPO / ".venv" / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        build: list[str | Path] = [*pip, "-w", folder, "."]
        if venv.exists() and commands.succeeds([venv, "-c", "import hatchling"]):
            # Without the isolation that would fetch hatchling again each time.
            build = [venv, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        commands.run_long("wheel", build, directory=paths.REPO)

    with lock("wheel"):
        return made_once("wheels/longshore", key=content_key(files=_wheel_sources()), make=make)


def _wheel_sources() -> list[Path]:
    return [each for name in WHEEL_SOURCES if (each := paths.REPO / name).exists()]
