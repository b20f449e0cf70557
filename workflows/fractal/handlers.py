"""Draw the Mandelbrot set with characters: much work for Python, little data."""

from __future__ import annotations

SHADES = " .:-=+*#%@"
LEFT, RIGHT, TOP, BOTTOM = -2.2, 0.8, 1.2, -1.2


def bands(height: int, rows: int) -> list[list[int]]:
    """Return the numbers of all rows, in bands of so many."""
    return [list(range(first, min(first + rows, height))) for first in range(0, height, rows)]


def draw(rows: list[int], width: int, height: int, depth: int) -> list[str]:
    """Return the text of some rows of the picture."""
    return [
        "".join(_shade(_steps(_point(x, y, width, height), depth), depth) for x in range(width))
        for y in rows
    ]


def join(bands: list[list[str]]) -> list[str]:
    """Return the rows of all bands."""
    return [row for band in bands for row in band]


def _point(x: int, y: int, width: int, height: int) -> complex:
    across, down = (x + 0.5) / width, (y + 0.5) / height
    return complex(LEFT + (RIGHT - LEFT) * across, TOP + (BOTTOM - TOP) * down)


def _steps(point: complex, depth: int) -> int:
    """Return the number of steps after which a point escapes, at most `depth`."""
    value = 0j
    for step in range(depth):
        if abs(value) > 2:
            return step
        value = value * value + point
    return depth


def _shade(steps: int, depth: int) -> str:
    return SHADES[-1] if steps == depth else SHADES[steps % (len(SHADES) - 1)]
