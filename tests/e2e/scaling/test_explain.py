"""The reasons, and the last hour, in a terminal."""

import os
import subprocess
import sys
from pathlib import Path

from dev import release
from tests.e2e.scaling.workers import QUICK, wait_for_current
from tests.e2e.tenant import Tenant


def test_explain_shows_the_reasons_and_the_last_hour(tenant: Tenant) -> None:
    tenant.apply(scaling={**QUICK, "min": 1})
    wait_for_current(tenant, 1)

    program = str(Path(sys.executable).with_name("longshore"))
    operator = f"--operator={release.NAMESPACE}/{release.RELEASE}"
    said = subprocess.run(
        [program, "explain", "work", f"--namespace={tenant.namespace}", operator],
        env={**os.environ, "KUBECONFIG": tenant.kube.kubeconfig},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "1 workers, 1 wanted" in said.stdout
    assert "scaling.min raises it to 1" in said.stdout
    assert "an hour ago" in said.stdout
