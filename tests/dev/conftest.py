"""The lifecycle tests are about the embedded cluster; beside another one they must not start it."""

import json

from dev import paths

_kind = (
    json.loads(paths.CLUSTER_RECORD.read_text())["kind"] if paths.CLUSTER_RECORD.exists() else ""
)
collect_ignore = [] if _kind in ("", "embedded") else ["test_lifecycle.py"]
