"""Decisions that are not carried out, or only in part, for reasons outside of the decision."""

from longshore_operator.core.scaling import Decision, ObservedWorker
from longshore_operator.core.scaling.decision import held, without_shrink

CORDONED = (
    ObservedWorker(name="a", state="idle", cordoned=True),
    ObservedWorker(name="b", state="idle"),
)


def test_without_a_shrink_the_cordoned_work_again_and_all_stay() -> None:
    decision = Decision(replicas=1, why=("x",), remove=("a",), cordon=("b",))

    changed = without_shrink(decision, CORDONED, replicas=2, why="y")

    assert (changed.replicas, changed.cordon, changed.remove) == (2, (), ())
    assert (changed.uncordon, changed.why) == (("a",), ("x", "y"))
    grows = Decision(replicas=9, why=("x",))
    assert without_shrink(grows, (), replicas=2, why="y") is grows


def test_who_is_held_does_nothing_but_uncordon() -> None:
    changed = held(Decision(replicas=9, why=("x",), wanted=9), CORDONED, reason="R", why="y")

    assert (changed.replicas, changed.holds, changed.uncordon) == (None, "R", ("a",))
    assert changed.wanted == 9


def test_who_is_held_claims_no_part_of_a_budget() -> None:
    decision = Decision(replicas=9, why=(), claim=9)

    assert held(decision, (), reason="ForeignAutoscaler", why="").claim is None
