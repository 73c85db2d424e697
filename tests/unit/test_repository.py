"""Rules of the repository that no other tool keeps."""

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
