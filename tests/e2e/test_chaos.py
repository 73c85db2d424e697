"""Jobs and faults of every kind for a minute; `make chaos` goes on for longer and does worse."""

from __future__ import annotations

import pytest

from chaos.faults import SHORT
from chaos.playing import play
from dev.kube import Kube
from tests.scheduling import ALONE

SECONDS = 45.0


@pytest.mark.xdist_group(ALONE)
def test_faults_lose_no_job_and_explain_every_repeat(kube: Kube) -> None:
    played = play(seed=2, series="4.3", nodes=1, seconds=SECONDS, rate=10.0, tricks=SHORT)
    found = played.findings
    assert found.is_clean, found
    assert not played.failed
    assert not played.passwords
    assert found.jobs >= 5 * SECONDS
    assert sum(played.faults.values()) >= 4
