from demo.verdict import DESIGNED_END, Enqueued, Run, ends, faults


def jobs(**kinds: str) -> list[Enqueued]:
    return [Enqueued(id=id_, kind=kind, enqueued_ms=0) for id_, kind in kinds.items()]


def run(id_: str) -> Run:
    return Run(id=id_, started_ms=1, ended_ms=2)


ALL = [Enqueued(id=kind, kind=kind, enqueued_ms=0) for kind in DESIGNED_END]
GOOD = [run(kind) for kind, end in DESIGNED_END.items() if end == "succeeded"]
DEAD = {kind: end for kind, end in DESIGNED_END.items() if end != "succeeded"}


def test_every_job_that_ended_as_designed_leaves_no_fault() -> None:
    assert faults(ends(ALL, GOOD, DEAD)) == []


def test_a_job_that_neither_ran_nor_died_is_lost() -> None:
    assert ends(jobs(a="render"), [], {})["render"] == {"lost": 1}


def test_a_good_job_that_ran_twice_is_a_fault() -> None:
    assert faults(ends(ALL, [*GOOD, run("render")], DEAD)) == [
        "1 of kind render ended as ran-twice, not as succeeded"
    ]


def test_a_bad_job_with_another_reason_is_a_fault() -> None:
    assert faults(ends(ALL, GOOD, {**DEAD, "crash": "max-attempts"})) == [
        "1 of kind crash ended as max-attempts, not as worker-lost"
    ]


def test_a_kind_that_was_forgotten_is_a_fault() -> None:
    without = [job for job in ALL if job.kind != "endless"]

    assert faults(ends(without, GOOD, DEAD)) == ["no job of kind endless was enqueued"]
