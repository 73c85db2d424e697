"""What documents say of the repository: every file, folder and module that they name is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from longshore.contract import names

ROOT = Path(__file__).parents[2]
BASES = (
    "",
    "worker_image/longshore",
    "operator/longshore_operator",
    "operator",
    "worker_image",
)
"""Folders that a document's paths may start from, beside its own and those that it names."""

FOLDERS = ("docs", "examples", "charts", "tests", "benchmarks", "chaos", "demo", "dev")
DOCUMENTS = [
    *(path.name for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"),
    *(
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.md"))
    ),
]

_FILE = re.compile(r"[\w.-]*(?:/[\w.-]*)*\.(?:py|md|ya?ml|toml|txt)")
_FOLDER = re.compile(r"[\w-]+(?:/[\w.-]+)*/")
_MODULE = re.compile(r"(?:longshore|longshore_operator)(?:\.\w+)+")
_NO_MODULES = (
    *(
        str(value).removesuffix(".")
        for constant, value in vars(names).items()
        if constant.isupper() and str(value).startswith("longshore.")
    ),
    "longshore.own",
    "longshore.commands",
    "longshore.scaling_policies",
)
"""Objects in RabbitMQ, and groups of entry points."""


def named(document: str) -> Iterator[str]:
    """What stands in a document's backticks, outside of its blocks of code."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.M | re.S)
    yield from re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_file_that_a_document_names_exists(document: str) -> None:
    bases = [ROOT / base for base in (*BASES, Path(document).parent)]
    folders = [base / name for base in bases for name in named(document) if name.endswith("/")]
    missing = [
        name
        for name in named(document)
        if _FILE.fullmatch(name) or _FOLDER.fullmatch(name)
        if not any((base / name).exists() for base in (*bases, *folders))
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_link_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text())
    missing = [
        link
        for link in links
        if "://" not in link
        if not (ROOT / document).parent.joinpath(link).exists()
    ]
    assert missing == []


def _is_importable(name: str) -> bool:
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_module_that_a_document_names_exists(document: str) -> None:
    missing = [
        name
        for name in named(document)
        if _MODULE.fullmatch(name) and not name.startswith(_NO_MODULES)
        if not _is_importable(name)
    ]
    assert missing == []
