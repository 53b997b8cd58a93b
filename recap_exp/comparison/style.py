"""One look of all pictures: colours that every kind of colour vision tells apart (Okabe and Ito), no box, no pyplot."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from recap_exp.comparison.read import Value
from recap_exp.comparison.settings import show

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
"""Of the best settings, in their order; the others are grey."""
GREY, FAINT = "#777777", "#C9CDD2"
MAP = "cividis"
"""From low to high, readable in grey too."""


def colour(place: int) -> str:
    """Of the setting at this place, 0 the best."""
    return COLOURS[place] if place < len(COLOURS) else FAINT


def new_figure(width: float = 7.0, height: float = 4.0) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Title, labels, no box, a grid that stays behind."""
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.set_title(title, loc="left", fontsize=10.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis="y", color="#E6E8EB", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8.5)


def ink(image: AxesImage, value: float) -> str:
    """Black or white, whichever is read better on the colour of `value`."""
    red, green, blue = image.to_rgba(np.array([value]))[0][:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def svg(figure: Figure) -> str:
    """The figure as an address that holds it: nothing is fetched, and names in one picture don't meet those of another."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "recap-exp", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = text.getvalue()
    return "data:image/svg+xml;base64," + base64.b64encode(drawn[drawn.index("<svg") :].encode()).decode()


class Axis:
    """Where the values of one setting stand: on a line, on a logarithmic line, or side by side.

    Numbers stand on a line, on a logarithmic one where that spreads them more evenly; anything else, and few numbers, side by side.
    """

    def __init__(self, values: Sequence[Value], few: int = 0) -> None:
        distinct = list(dict.fromkeys(values))
        numbers = [v for v in distinct if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
        self.numeric = len(numbers) == len(distinct) > 1 and len(distinct) > few
        self.log = self.numeric and _evener_in_logarithm([float(v) for v in numbers])
        self.values = sorted(distinct, key=_order)

    def place(self, value: Value) -> float:
        """On the line, from 0 to 1."""
        if not self.numeric:
            return (self.values.index(value) + 0.5) / len(self.values)
        low, high, at = (math.log(v) if self.log else v for v in (self.values[0], self.values[-1], value))  # type: ignore[arg-type]
        return float((at - low) / (high - low))  # type: ignore[operator]

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Places on the line and what stands there: every value that was run, or evenly chosen ones of them where they are many."""
        if not self.numeric:
            return [(self.place(v), show(v)) for v in self.values]
        shown: list[tuple[float, str]] = []
        for value in (self.values[0], self.values[-1], *self.values[1:-1]):
            at = self.place(value)
            if all(abs(at - other) > 0.8 / most for other, _ in shown):
                shown.append((at, show(round_to(value, 3))))
        return sorted(shown)


def _evener_in_logarithm(numbers: Sequence[float]) -> bool:
    """Where numbers span a factor of 8 or more: whether their median is nearer the middle on a logarithmic line."""
    low, mid, high = np.quantile(numbers, [0, 0.5, 1])
    if low <= 0 or high / low < 8:
        return False
    return bool(abs(np.log(mid / low) / np.log(high / low) - 0.5) < abs((mid - low) / (high - low) - 0.5))


def round_to(value: Value, digits: int) -> Value:
    """A number to so many significant digits; whole ones as they are."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _order(value: Value) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, show(value))
