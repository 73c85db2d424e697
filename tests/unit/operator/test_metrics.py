from prometheus_client.parser import text_string_to_metric_families

from longshore_operator.adapters.metrics import OperatorMetrics, Shown

KNOWN = Shown(namespace="media", name="transcode", ready=3, dead=0, wanted=2, workers=1)
UNKNOWN = Shown(namespace="media", name="thumbs", ready=None, dead=None, wanted=None, workers=0)


def made() -> OperatorMetrics:
    return OperatorMetrics(
        clock=lambda: 0.0,
        task_queues=lambda: [KNOWN, UNKNOWN],
        brokers=lambda: [("default", True), ("far", False)],
    )


def values(metrics: OperatorMetrics) -> dict[tuple[str, str], float]:
    """By name, and the last of the labels."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, next(reversed(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_task_queue_is_shown_by_its_name() -> None:
    found = values(made())

    assert found["longshore_taskqueue_jobs_ready", "transcode"] == 3
    assert found["longshore_taskqueue_jobs_dead", "transcode"] == 0
    assert found["longshore_taskqueue_workers_wanted", "transcode"] == 2
    assert found["longshore_taskqueue_workers", "transcode"] == 1


def test_what_is_unknown_is_no_zero() -> None:
    found = values(made())

    assert ("longshore_taskqueue_jobs_ready", "thumbs") not in found
    assert found["longshore_taskqueue_workers", "thumbs"] == 0


def test_a_task_queue_that_is_gone_is_not_shown() -> None:
    shown, now = [KNOWN, UNKNOWN], [0.0]
    metrics = OperatorMetrics(clock=lambda: now[0], task_queues=lambda: shown, brokers=lambda: [])
    assert "transcode" in {name for _, name in values(metrics)}

    shown.remove(KNOWN)
    now[0] += 60

    assert {name for _, name in values(metrics)} & {"transcode", "thumbs"} == {"thumbs"}


def test_a_broker_is_up_or_not() -> None:
    found = values(made())

    assert found["longshore_broker_up", "default"] == 1
    assert found["longshore_broker_up", "far"] == 0


def test_ticks_and_attempts_are_counted() -> None:
    metrics = made()
    metrics.ticked(took=0.12, interval=None)
    metrics.ticked(took=0.31, interval=1.0)
    metrics.reconciled(failed=True)

    found = values(metrics)

    assert found["longshore_operator_tick_seconds_count", ""] == 2
    assert found["longshore_operator_tick_seconds_bucket", "0.15"] == 1
    assert found["longshore_operator_tick_interval_seconds_count", ""] == 1
    assert found["longshore_operator_reconciles_total", "failed"] == 1
    assert found["longshore_operator_reconciles_total", "done"] == 0


def test_however_many_ask_the_numbers_are_gathered_once_a_second() -> None:
    clock, gathered = [0.0], list[float]()

    def task_queues() -> list[Shown]:
        gathered.append(clock[0])
        return [KNOWN]

    metrics = OperatorMetrics(clock=lambda: clock[0], task_queues=task_queues, brokers=lambda: [])
    gathered.clear()  # a collector is asked once when it is registered
    for moment in (0.0, 0.5, 0.9, 1.0, 1.9):
        clock[0] = moment
        metrics.exposition()

    assert gathered == [0.0, 1.0]
