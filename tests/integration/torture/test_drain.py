"""The end of a worker, wanted or not, in the middle of its jobs."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from longshore.contract.message import DELIVERY_COUNT
from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling import Decision, Memory, Observation, ObservedWorker, decide
from longshore_operator.core.scaling.sight import Sight
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import observed
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration


def test_heartbeats_go_on_while_a_worker_drains(bench: Bench) -> None:
    """Case 13. The loop that sends heartbeats stops first, and the last jobs lose their ack."""
    worker = bench.started(heartbeat="1s")
    bench.enqueue("sleep", diary=bench.diary, seconds=5)
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert bench.lines() == ["start 1", "end 1"]
    assert worker.events("job-settled", outcome="succeeded")
    assert not worker.events("consumer-lost")
    assert bench.is_empty()


def test_a_drain_acks_what_is_done_and_returns_what_is_not_begun(bench: Bench) -> None:
    """Case 14. Acks after the channel is closed: jobs that are done, or wait, run once more."""
    first = bench.start(slots=2, prefetch=16)
    for number in range(200):
        bench.enqueue("endure", diary=bench.diary, number=number)
    bench.wait_lines(60)
    assert first.stop() == 0
    done = {line.split()[0] for line in bench.lines() if line.split()[1] == "end"}
    assert 0 < len(done) < 200
    assert bench.ready() == 200 - len(done)
    second = bench.started(slots=2, prefetch=16)
    second.wait("job-settled", count=200 - len(done), outcome="succeeded")
    runs = Counter(tuple(line.split()[:3]) for line in bench.lines())
    assert runs == Counter((str(n), what, "1") for n in range(200) for what in ("start", "end"))


def test_jobs_that_arrive_during_a_drain_are_returned_once(bench: Bench) -> None:
    """Beside case 14: given back while the consumer is still there, a job comes back at once."""
    worker = bench.started(prefetch=8)
    worker.process.send_signal(signal.SIGTERM)
    sent = 0
    while worker.process.poll() is None:
        bench.enqueue("nothing")
        sent += 1
        time.sleep(0.02)
    assert worker.exit_code() == 0
    ended = [event["outcome"] for event in worker.events("job-settled")]
    assert set(ended) <= {"returned", "succeeded"}
    assert Counter(ended)["returned"] <= 8
    wait_for(lambda: bench.ready() == sent - Counter(ended)["succeeded"], why=bench.ready)
    assert not _charged(bench)


def test_a_worker_that_is_killed_in_its_grace_loses_no_job(bench: Bench) -> None:
    """Case 15. A grace shorter than the job: acked before it ran, it is lost."""
    first = bench.started()
    bench.enqueue("sleep", diary=bench.diary, seconds=2)
    bench.wait_lines(1)
    first.process.send_signal(signal.SIGTERM)
    first.wait("worker-draining")
    first.stop(number=signal.SIGKILL)
    second = bench.started()
    second.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["start 1", "start 2", "end 2"]


def test_a_busy_worker_is_never_taken_away(bench: Bench) -> None:
    """Case 26. The autoscaler sees an empty queue and removes a pod in the middle of its job.

    Which pod goes is the operator's to say: by what this worker reports it is not chosen while its
    job runs, and only asked to take no more jobs when it is done.
    """
    channel = bench.broker.channel
    ear = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(ear, REPORTS_EXCHANGE, bench.queue)
    worker = bench.started(env={"LONGSHORE_POD_NAME": "pod-7"})
    bench.enqueue("sleep", diary=bench.diary, seconds=1)
    bench.wait_lines(1)
    assert bench.ready() == 0
    busy = wait_for(lambda: _report(bench, ear, lambda report: report.busy == 1))
    decision = _decide(busy)
    assert decision.wanted == 1
    assert (decision.cordon, decision.remove) == (("other",), ())
    idle = wait_for(lambda: _report(bench, ear, lambda report: report.succeeded == 1))
    decision = _decide(idle)
    assert decision.wanted == 0
    assert (set(decision.cordon), decision.remove) == ({"other", "pod-7"}, ())
    assert worker.stop() == 0


def _charged(bench: Bench) -> list[dict[str, object]]:
    """Headers of jobs that the broker counts a failed delivery of."""
    found = []
    while (got := bench.broker.channel.basic_get(bench.queue, auto_ack=True))[0]:
        if got[1].headers and got[1].headers.get(DELIVERY_COUNT):
            found.append(got[1].headers)
    return found


def _report(bench: Bench, ear: str, wanted: Callable[[WorkerReport], bool]) -> WorkerReport | None:
    _, _, body = bench.broker.channel.basic_get(ear, auto_ack=True)
    report = None if body is None else msgspec.json.decode(body, type=WorkerReport)
    return report if report and wanted(report) else None


def _decide(report: WorkerReport) -> Decision:
    """For this worker and one that idles, with no job waiting, long after the last arrival."""
    pod = Pod(name=report.worker, running=True, ready=True, ending=False)
    reports = {report.worker: report}
    sight = Sight(
        key=("ns", "q"), deployment=None, pods=(pod,), reports=reports, now=100.0, epoch=100.0
    )
    state = ScalingState(tally=Tally(since=0), recent=Recent(since=0))
    (worker,) = observed(state, sight)
    before = Memory(
        at=99.0,
        finished=worker.settled,
        work=worker.held,
        rate=0.0,
        idle_since=None if worker.held else 10.0,
        peaks=((99.0, 0),),
    )
    return decide(
        Scaling.model_validate({"policy": "backlog", "idleGrace": "30s"}),
        slots=1,
        observation=Observation(
            ready=0, workers=(worker, ObservedWorker(name="other", state="idle")), replicas=2
        ),
        memory=before,
        now=100.0,
    )
