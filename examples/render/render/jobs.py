"""The handlers: two that do work, and two that misbehave, to show what happens then."""

from __future__ import annotations

import ctypes
import itertools
import time
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from longshore import Job, handler
from render import pictures
from render.output import Output, now_ms

Pixels = Annotated[int, Field(ge=16, le=8192)]

SCENES = {"fractal": pictures.fractal, "poster": pictures.poster}


@handler
def render(
    job: Job,
    scene: Literal["fractal", "poster"],
    width: Pixels = 400,
    height: Pixels = 300,
    seed: int = 0,
) -> None:
    """Render one picture, which takes a few tenths of a second."""
    started = now_ms()
    picture = SCENES[scene](width=width, height=height, seed=seed)
    Output.from_environment().save(picture, job=job, handler="render", started_ms=started)


@handler
def panorama(
    job: Job,
    tiles: Annotated[int, Field(ge=1, le=1000)],
    seconds: Annotated[float, Field(ge=0)],
    size: Pixels = 128,
) -> None:
    """Render `tiles` pictures in a row, for at least `seconds`: a job of any length."""
    started = now_ms()
    begun = time.monotonic()
    strip = Image.new("RGB", (tiles * size, size))
    for number in range(tiles):
        strip.paste(pictures.fractal(width=size, height=size, seed=number), (number * size, 0))
        job.progress({"tiles": number + 1, "of": tiles})
        time.sleep(max(0.0, begun + seconds * (number + 1) / tiles - time.monotonic()))
    Output.from_environment().save(strip, job=job, handler="panorama", started_ms=started)


@handler(max_attempts=1)
def endless(job: Job) -> None:
    """Run until the hard limit ends the job."""
    for seed in itertools.count():
        pictures.fractal(width=64, height=64, seed=seed)
        job.progress(seed)
        time.sleep(0.2)


@handler(max_attempts=2)
def crash(job: Job) -> None:
    """Fail like a bug in a C extension: with a segmentation fault, which no `except` catches."""
    ctypes.string_at(0)
