from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.scaling.waits import waiting
from tests.unit.operator.test_workers import report

EMPTY = Depth(ready=0, consumers=0)


def test_the_jobs_that_wait_are_those_that_the_queue_has() -> None:
    assert waiting(Depth(ready=3, consumers=1), reports={}, cordoned=()) == 3
    assert waiting(EMPTY, reports={}, cordoned=()) == 0


def test_a_queue_that_is_missing_or_does_not_answer_is_unknown() -> None:
    assert waiting(Missing(), reports={}, cordoned=()) is None
    assert waiting(None, reports={}, cordoned=()) is None


def test_no_consumers_where_one_should_be_means_that_nobody_knows() -> None:
    reports = {"a": report("a"), "b": report("b", cordon="one")}

    assert waiting(EMPTY, reports=reports, cordoned=()) is None


def test_a_worker_that_takes_no_jobs_is_no_consumer() -> None:
    for reports, cordoned in (
        ({"a": report("a", cordon="one")}, ()),
        ({"a": report("a", draining=True)}, ()),
        ({"a": report("a")}, ("a",)),
    ):
        assert waiting(EMPTY, reports=reports, cordoned=cordoned) == 0
