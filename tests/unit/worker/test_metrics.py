from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.jobs.outcome import Outcome
from longshore.worker.parent.telemetry.metrics import Metrics


def test_the_reference_client_reads_what_is_exposed() -> None:
    metrics = Metrics(slots=4)
    metrics.jobs[Outcome.SUCCEEDED] += 2
    for seconds in (0.001, 0.02, 45, 1e6):
        metrics.run_seconds.observe(seconds)
    text = metrics.render(busy=3, is_blocked=True).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    kinds = {name: family.type for name, family in families.items()}
    assert kinds == {
        "longshore_jobs": "counter",
        "longshore_job_run_seconds": "histogram",
        "longshore_job_wait_seconds": "histogram",
        "longshore_busy_slots": "gauge",
        "longshore_slots": "gauge",
        "longshore_publish_blocked": "gauge",
        "longshore_kills": "counter",
        "longshore_reconnects": "counter",
    }
    jobs = {sample.labels["outcome"]: sample.value for sample in families["longshore_jobs"].samples}
    assert jobs == {**dict.fromkeys(map(str, Outcome), 0.0), "succeeded": 2.0}
    assert len(families["longshore_kills"].samples) == len(Kill)
    runs = families["longshore_job_run_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in runs if s.name.endswith("_bucket")}
    assert (buckets["0.005"], buckets["0.02"], buckets["60.0"], buckets["+Inf"]) == (1, 2, 3, 4)
    assert [s.value for s in runs if s.name.endswith("_count")] == [4.0]
    assert [s.value for s in families["longshore_busy_slots"].samples] == [3.0]
    assert [s.value for s in families["longshore_publish_blocked"].samples] == [1.0]
