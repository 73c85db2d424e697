"""One round: jobs and faults together, then calm, then the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chaos import checker, collecting, history, passwords
from chaos.history import History, line
from chaos.nemesis import Nemesis, Trick, schedule
from chaos.producing import Producer
from chaos.report import Round
from chaos.stage import Stage, stage

BEFORE = 5.0
"""Seconds of calm in which jobs begin to flow."""


def play(
    *,
    seed: int,
    series: str,
    nodes: int,
    seconds: float,
    rate: float,
    tricks: Sequence[Trick],
) -> Round:
    """Everything up, `seconds` of faults at `rate` jobs a second, everything down."""
    with stage(series=series, nodes=nodes) as playing:
        print(f"chaos: seed {seed}, RabbitMQ {series} on {nodes} nodes: {playing.folder}")
        return _play(playing, seed=seed, seconds=seconds, rate=rate, tricks=tricks)


def _play(
    stage: Stage, *, seed: int, seconds: float, rate: float, tricks: Sequence[Trick]
) -> Round:
    producer = Producer(stage=stage, seed=seed, rate=rate, path=stage.folder / "producer.jsonl")
    nemesis = Nemesis(stage=stage, path=stage.folder / "nemesis.jsonl")
    began = time.monotonic()
    producer.start()
    try:
        time.sleep(BEFORE)
        nemesis.play(schedule(seed, tricks, nodes=stage.nodes), seconds=seconds)
        time.sleep(BEFORE)
    finally:
        producer.stop()
    settled_after = collecting.settle(stage)
    with (stage.folder / "left.jsonl").open("w") as file:
        file.writelines(map(line, collecting.left(stage)))
    findings = checker.check(History.of(history.read(stage.folder)))
    return Round(
        seed=seed,
        series=stage.series,
        nodes=stage.nodes,
        seconds=round(time.monotonic() - began, 1),
        settled_after=round(settled_after, 1),
        faults=dict(sorted(nemesis.counts.items())),
        failed=nemesis.failed,
        passwords=passwords.shown(stage),
        findings=findings,
    )
