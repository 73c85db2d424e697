"""Rules of the repository that no other tool keeps."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_operator_folder_never_becomes_a_package() -> None:
    """With an `__init__.py` it would shadow the standard library's `operator`."""
    assert not (ROOT / "operator/__init__.py").exists()


def test_pins_carry_no_addresses() -> None:
    folders = ("requirements/*", "examples/*/requirements*", "benchmarks/requirements*")
    pins = [pin for folder in folders for pin in ROOT.glob(f"{folder}.txt")]

    assert len(pins) >= 5
    assert [pin.name for pin in pins if "://" in pin.read_text()] == []


MOST_MODULES = 12
MOST_LINES = 400
PRODUCT = (ROOT / "worker_image/longshore", ROOT / "operator/longshore_operator")


def test_a_folder_of_the_product_is_taken_in_at_a_glance() -> None:
    modules = Counter(
        str(path.parent.relative_to(ROOT))
        for package in PRODUCT
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_a_module_of_the_product_has_one_subject() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for package in PRODUCT
        for path in package.rglob("*.py")
    }
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
