"""The images of Longshore, built when their inputs changed, loaded where the cluster lacks them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev import buildah, clusters, docker, paths, rabbitmq, recipes
from dev.builds import Engine, build
from dev.cache import lock, read_record, write_record
from dev.errors import DevError
from dev.recipes import Recipe


def up(names: Sequence[str] = ()) -> dict[str, str]:
    """Build and load these images (default: all there are); returns build/images.json."""
    cluster = clusters.current()
    embedded = cluster.kind == "embedded"
    engine: Engine = buildah if embedded else docker
    wanted = _chosen(names, official=not embedded)
    with lock("images"):
        for recipe in wanted.values():
            if isinstance(recipe, Recipe) and not cluster.holds(recipe.reference):
                build(recipe, engine=engine)
                _load(recipe.reference, engine=engine, cluster=cluster)
        references = {
            name: recipe.reference if isinstance(recipe, Recipe) else recipe
            for name, recipe in wanted.items()
        }
        references = dict(sorted({**read_record(paths.IMAGES_RECORD), **references}.items()))
        if references != read_record(paths.IMAGES_RECORD):
            write_record(paths.IMAGES_RECORD, references)
    return references


def catalogue(*, official: bool) -> dict[str, Recipe | str]:
    """Every image by its logical name; those that are official ones as a mere reference."""
    base = docker.PYTHON_IMAGE if official else recipes.python()
    operator = paths.REPO / "operator" / "Dockerfile"
    worker_dockerfile = paths.REPO / "worker_image" / "Dockerfile"
    worker = recipes.application("worker", dockerfile=worker_dockerfile, base=base)
    images: dict[str, Recipe | str] = {
        "worker": worker,
        "operator": recipes.application("operator", dockerfile=operator, base=base),
        "pause": recipes.pause(),
    }
    for dockerfile in sorted((paths.REPO / "examples").glob("*/Dockerfile")):
        name = dockerfile.parent.name
        images[f"example-{name}"] = recipes.example(name, base=worker)
    for name, series in rabbitmq.ALL.items():
        images[f"rabbitmq-{name}"] = series.official_image if official else recipes.rabbitmq(series)
    return images


def _chosen(names: Sequence[str], *, official: bool) -> dict[str, Recipe | str]:
    known = catalogue(official=official)
    if unknown := sorted(set(names) - set(known)):
        raise DevError(f"no image {unknown[0]!r}: there are {', '.join(known)}")
    return {name: recipe for name, recipe in known.items() if name in names or not names}


def _load(reference: str, *, engine: Engine, cluster: clusters.Cluster) -> None:
    with tempfile.TemporaryDirectory(prefix="longshore-image-") as work:
        archive = Path(work) / f"{reference.rpartition('/')[2].replace(':', '-')}.tar"
        engine.save(reference, archive)
        cluster.load(archive)
