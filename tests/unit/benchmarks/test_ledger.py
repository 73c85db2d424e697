"""What became of the jobs of the cluster's benchmark."""

import json

from benchmarks.cluster.ledger import Judgement, Run, judged, runs


def line(what: str, job: str, at: float, *, pod: str = "p", attempt: int = 1) -> str:
    return json.dumps({"what": what, "job": job, "attempt": attempt, "pod": pod, "at": at})


def test_a_start_and_its_end_are_a_run_and_a_start_alone_was_cut_short() -> None:
    lines = [line("start", "a", 1), line("start", "b", 2, pod="q"), line("end", "a", 3)]

    assert runs(lines) == (
        Run(job="a", pod="p", started=1, ended=3),
        Run(job="b", pod="q", started=2, ended=None),
    )


def test_the_same_attempt_twice_on_one_pod_are_two_runs() -> None:
    lines = [line("start", "a", 1), line("start", "a", 2), line("end", "a", 3)]

    assert [run.ended for run in runs(lines)] == [None, 3]


def test_jobs_are_judged() -> None:
    found = runs(
        [
            line("start", "fine", 1),
            line("end", "fine", 2),
            line("start", "killed", 3),
            line("start", "killed", 4, pod="q"),
            line("end", "killed", 9, pod="q"),
        ]
    )

    assert judged(["fine", "killed", "lost"], found, asked_to_end={"p": 2.5, "q": 6}) == Judgement(
        lost=1, killed=1, repeated=1, busy_pods_chosen=1
    )
    assert judged(["fine"], found[:1], asked_to_end={"p": 2.5}) == Judgement(
        lost=0, killed=0, repeated=0, busy_pods_chosen=0
    )
