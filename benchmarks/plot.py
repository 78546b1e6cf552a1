"""Two kinds of plots as SVG: bars with the mark they should reach, and curves over growing numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH = 760
LEFT = 190
_ROW = 26
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#97266d")
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1a202c}"
    ".t{font-size:15px;font-weight:600}.g{stroke:#cbd5e0}.r{stroke:#c53030;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e2e8f0}.g{stroke:#4a5568}}</style>"
)


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    value: float
    reach: Mapping[str, Any] | None  # of arithmetic.Reach


def bars(title: str, drawn: Sequence[Bar]) -> str:
    """Red marks where a bar should end at least, or at most."""
    most = max([1.0, *(one.value for one in drawn), *(_bound(one) for one in drawn)]) * 1.1
    per_unit = (WIDTH - LEFT - 60) / most
    parts = [_text(10, 22, title, "t")]
    for at, one in enumerate(drawn):
        y = 40 + at * _ROW
        parts.append(_text(LEFT - 8, y + 14, one.name, anchor="end"))
        width = max(1.0, one.value * per_unit)
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="18" fill="{_COLOURS[0]}"/>'
        )
        end = max(width, _bound(one) * per_unit)
        parts.append(_text(LEFT + end + 6, y + 14, f"{one.value:.2f} ×"))
        if one.reach:
            x = LEFT + _bound(one) * per_unit
            parts.append(f'<line class="r" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{y + 21}"/>')
    return _drawn(parts, 50 + len(drawn) * _ROW)


def curves(title: str, series: Mapping[str, Mapping[str, float]]) -> str:
    """Figure over number, the numbers on a logarithmic scale from 0 up."""
    xs = sorted({float(x) for points in series.values() for x in points})
    most = max([1.0, *(y for points in series.values() for y in points.values())]) * 1.15
    low, high = math.log10(max(1.0, xs[0])), math.log10(max(10.0, xs[-1]))
    left, top, bottom = 60.0, 50.0, 300.0

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(max(1.0, x)) - low) / ((high - low) or 1.0)
        return left + share * (WIDTH - left - 40), bottom - y / most * (bottom - top)

    parts = [_text(10, 22, title, "t")]
    for step in range(5):
        _, y = at(1, most * step / 4)
        parts.append(f'<line class="g" x1="{left}" x2="{WIDTH - 30}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 6, y + 4, f"{most * step / 4:.2g}", anchor="end"))
    parts += [_text(at(x, 0)[0], bottom + 18, f"{x:,.0f}", anchor="middle") for x in xs]
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [at(float(x), y) for x, y in sorted(points.items(), key=lambda p: float(p[0]))]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        parts.append(
            f'<rect x="{left}" y="{328 + number * 20}" width="12" height="12" fill="{colour}"/>'
        )
        parts.append(_text(left + 18, 339 + number * 20, name))
    return _drawn(parts, 340 + len(series) * 20)


def _bound(bar: Bar) -> float:
    return float(bar.reach["bound"]) if bar.reach else 0.0


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _drawn(parts: Sequence[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}">'
    return "\n".join([head, _STYLE, *parts, "</svg>"]) + "\n"
