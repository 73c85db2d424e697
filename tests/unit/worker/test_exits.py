import re
from pathlib import Path

from longshore.worker.linux.exits import Exit

DOCS = Path(__file__).parents[3] / "docs/worker.md"


def test_every_exit_code_is_in_the_documents() -> None:
    codes = re.findall(r"^\| (\d+) \| ", DOCS.read_text(), re.MULTILINE)

    assert [int(code) for code in codes] == list(Exit)
