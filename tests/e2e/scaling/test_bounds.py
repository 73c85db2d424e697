"""What bounds the number of workers, and what leaves it alone; each says so in the status."""

import time
from datetime import datetime

from dev.kube import wait_for
from tests.e2e.scaling.conftest import FIXED, STANDING
from tests.e2e.scaling.workers import (
    Most,
    deployment,
    events_of,
    staying,
    wait_for_line,
    wait_for_reason,
    wait_for_workers,
)
from tests.e2e.tenant import Tenant


def test_a_window_raises_the_floor(standing: Tenant) -> None:
    found = wait_for_line(standing, "window '* * * * *' (UTC) raises it to 1", "floor")

    assert found["wanted"] == 1
    wait_for_workers(standing, 1, "floor")


def test_a_window_lowers_the_ceiling(standing: Tenant) -> None:
    found = wait_for_line(standing, "window '* * * * *' (UTC) lowers it to 1", "ceiling")

    assert found["wanted"] == 1
    assert "policy fixed wants scaling.max = 3" in found["why"]
    wait_for_workers(standing, 1, "ceiling")


def test_a_dry_run_explains_and_does_nothing(standing: Tenant) -> None:
    said = wait_for_reason(standing, "DryRun", "dry")

    assert "2 workers are wanted, and nothing is done" in said
    assert standing.status("dry")["scaling"]["wanted"] == 2
    assert standing.replicas("dry") == 0
    assert deployment(standing, "dry")["metadata"]["generation"] <= 2, "made, and given 0 replicas"


def test_what_is_paused_stays_as_it_is_until_it_goes_on(standing: Tenant) -> None:
    paused = {**STANDING["changing"]["scaling"], "max": 2, "paused": True}
    before = wait_for_workers(standing, 1, "changing")

    standing.apply("changing", scaling=paused)

    wait_for_reason(standing, "Paused", "changing")
    assert (standing.replicas("changing"), staying(standing, "changing")) == (1, before)
    standing.apply("changing", scaling={**paused, "paused": False})
    assert wait_for_workers(standing, 2, "changing") > before


def test_no_worker_goes_before_its_minimum_life(standing: Tenant) -> None:
    """Of two, the one that has just come; the other one may be old enough."""
    scaling = {**STANDING["changing"]["scaling"], "max": 2}
    standing.apply("changing", scaling=scaling)
    wait_for_workers(standing, 2, "changing")
    # One without a process yet would go at once, whatever its age.
    wait_for(
        "both work", lambda: deployment(standing, "changing")["status"].get("readyReplicas") == 2
    )
    born = {
        pod["metadata"]["name"]: datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        for pod in standing.pods("changing")
    }
    youngest = max(born, key=lambda name: born[name])

    standing.apply("changing", scaling={**scaling, "policy": "backlog"})

    wait_for_line(standing, "younger than scaling.minLife = 30 s", "changing")
    assert youngest in staying(standing, "changing")
    wait_for("it goes", lambda: youngest not in staying(standing, "changing"), seconds=60)
    assert time.time() - born[youngest].timestamp() >= 30


def test_a_budget_is_shared_by_weight_and_never_exceeded(standing: Tenant) -> None:
    together = Most(lambda: standing.replicas("first") + standing.replicas("second"))

    def are(first: int, second: int) -> bool:
        together.look()
        return (standing.replicas("first"), standing.replicas("second")) == (first, second)

    wait_for("two thirds and one third", lambda: are(2, 1))
    standing.apply("first", scaling={**STANDING["first"]["scaling"], "max": 1})
    wait_for("what one doesn't want is the other's", lambda: are(1, 2))
    assert together.seen == 3


def test_a_budget_that_there_is_none_of_is_told_once_and_nobody_comes(standing: Tenant) -> None:
    said = wait_for_reason(standing, "BudgetUnknown", "lost")

    assert "scaling.budget.group 'nowhere'" in said
    assert "which lists shared" in said
    assert standing.replicas("lost") == 0
    before = standing.status("lost")["scaling"]
    standing.apply("lost", scaling={**STANDING["lost"]["scaling"], "max": 2})
    wait_for("it is decided anew", lambda: standing.status("lost")["scaling"] != before)
    assert events_of(standing, "lost") == {"Ready": 1, "BudgetUnknown": 1}
    standing.apply("lost", scaling={**FIXED, "max": 1, "budget": {"group": "shared"}})
    wait_for_reason(standing, "Scaling", "lost")


def test_no_step_of_scaling_is_an_event(standing: Tenant) -> None:
    quick = {**STANDING["changing"]["scaling"], "minLife": "0s"}
    for changes, count in (({"max": 2}, 2), ({"policy": "backlog"}, 0)):
        standing.apply("changing", scaling={**quick, **changes})
        wait_for_workers(standing, count, "changing")

    assert events_of(standing, "changing") == {"Ready": 1}
