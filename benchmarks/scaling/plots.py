"""The results as pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.scaling.compare import CONTENDERS, LONGSHORE, Row

_PANELS = (
    ("misses", "jobs that waited > 30 s, %"),
    ("p95", "p95 wait, s"),
    ("pod_hours", "pod-hours"),
    ("starts", "pod starts in an hour"),
)


def draw(means: Sequence[Row], folder: Path) -> list[Path]:
    """One picture for each start-up time, of the held-out seeds where there are some."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {each.seeds for each in means}
    seeds = "held-out" if "held-out" in kinds else "tuning"
    return [
        _picture(
            [each for each in means if each.boot == boot and each.seeds == seeds], boot, folder
        )
        for boot in dict.fromkeys(each.boot for each in means)
    ]


def _picture(rows: Sequence[Row], boot: float, folder: Path) -> Path:
    traces = list(dict.fromkeys(each.trace for each in rows))
    figure, axes = plt.subplots(
        len(_PANELS), len(traces), figsize=(3 * len(traces), 9), squeeze=False
    )
    for across, trace in enumerate(traces):
        values = {each.contender: each.measures for each in rows if each.trace == trace}
        names = [name for name in CONTENDERS if name in values]
        for down, (measure, title) in enumerate(_PANELS):
            axis = axes[down][across]
            axis.barh(
                names,
                [getattr(values[name], measure) for name in names],
                color=["tab:blue" if name == LONGSHORE else "silver" for name in names],
            )
            axis.invert_yaxis()
            axis.tick_params(labelsize=7, labelleft=across == 0)
            axis.set_xlabel(title, fontsize=7)
            if down == 0:
                axis.set_title(trace)
    figure.suptitle(f"{boot:g} s to start a worker, at most 100, mean of the {rows[0].seeds} seeds")
    figure.tight_layout()
    path = folder / f"scaling-{boot:g}s.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path
