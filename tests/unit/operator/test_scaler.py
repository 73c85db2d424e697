from longshore.contract.reports import WorkerReport
from longshore_operator.app.scaler import _worker
from longshore_operator.core.pods import Pod

BUSY = WorkerReport(queue="a.b", worker="p", started_at=0, slots=1, busy=1, held=1)


def pod(*, running: bool) -> Pod:
    return Pod(name="p", running=running, ready=False, ending=False)


def test_a_workers_own_word_counts_before_kubernetes_has_noticed_that_it_runs() -> None:
    worker = _worker(pod(running=False), BUSY)

    assert (worker.state, worker.held) == ("busy", 1)


def test_a_running_pod_that_says_nothing_is_unknown_and_one_not_yet_running_is_starting() -> None:
    assert _worker(pod(running=True), None).state == "unknown"
    assert _worker(pod(running=False), None).state == "starting"
