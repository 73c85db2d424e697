"""From a recipe to an image in an engine's store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from dev import buildah
from dev.recipes import Recipe

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class Engine(Protocol):
    """What builds images: the module `buildah` or `docker`."""

    def build(
        self,
        reference: str,
        *,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
    ) -> None: ...

    def holds(self, reference: str) -> bool: ...

    def save(self, reference: str, archive: Path) -> None: ...


def build(recipe: Recipe, *, engine: Engine = buildah) -> str:
    """Build an image and what it stands on, unless the engine has it; returns its reference."""
    if engine.holds(recipe.reference):
        return recipe.reference
    if recipe.base:
        build(recipe.base, engine=engine)
    with tempfile.TemporaryDirectory(prefix="longshore-image-") as work:
        recipe.fill(Path(work))
        engine.build(
            recipe.reference,
            context=Path(work),
            arguments=recipe.arguments,
            secrets={"ca": CA_BUNDLE} if CA_BUNDLE.exists() else {},
        )
    return recipe.reference
