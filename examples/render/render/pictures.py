"""Pictures, computed for real: an antialiased fractal and a poster with text."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

OVERSAMPLING = 2
ITERATIONS = 150

_SEAHORSE_VALLEY = (-0.745, 0.113)


def fractal(*, width: int, height: int, seed: int) -> Image.Image:
    """Draw a view near the Mandelbrot set's seahorse valley; `seed` picks place, zoom, colours."""
    chance = random.Random(seed)  # noqa: S311  pictures, not secrets
    span = chance.uniform(0.01, 0.05)
    x, y = (centre + chance.uniform(-span, span) / 4 for centre in _SEAHORSE_VALLEY)
    tall = span * height / width
    size = (width * OVERSAMPLING, height * OVERSAMPLING)
    grey = Image.effect_mandelbrot(size, (x - span, y - tall, x + span, y + tall), ITERATIONS)
    colours = [f"hsl({chance.randrange(360)}, 70%, {light}%)" for light in (8, 45, 92)]
    coloured = ImageOps.colorize(ImageOps.equalize(grey), *colours[::2], mid=colours[1])
    return coloured.resize((width, height), Image.Resampling.LANCZOS)


def poster(*, width: int, height: int, seed: int) -> Image.Image:
    """Draw a blurred fractal behind a line of text."""
    picture = fractal(width=width, height=height, seed=seed).filter(ImageFilter.GaussianBlur(6))
    font = ImageFont.load_default(size=max(10, height // 8))
    ImageDraw.Draw(picture).text(
        (width // 2, height // 2), f"No. {seed}", font=font, anchor="mm", fill="white"
    )
    return picture
