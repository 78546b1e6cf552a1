"""The table, and what stays of a run: docs/benchmarks/results.json, results.md and the plots.

Results are kept row by row, each with its own date, commit and machine, so that a run of some rows
leaves the others as they were. What limits a row that falls short is written by people, into
limits.toml beside them.
"""

import json
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.machine import Machine
from benchmarks.rows.base import Line

NOTE_WIDTH = 96
Kept = dict[str, Any]


def table(lines: Sequence[Line]) -> str:
    """Plain text; what is said of a line stands under it."""
    heads = ("row", "figure", "rounds", "target", "verdict")
    cells = [
        (
            line.row,
            f"{line.figure.median:,.2f} {line.unit}",
            f"{line.figure.low:,.2f}–{line.figure.high:,.2f}",
            line.reach.text if line.reach else "–",
            line.verdict,
        )
        for line in lines
    ]
    widths = [max(len(row[at]) for row in (heads, *cells)) for at in range(len(heads))]
    told = [_joined(heads, widths), _joined(["-" * width for width in widths], widths)]
    for line, row in zip(lines, cells, strict=True):
        told.append(_joined(row, widths))
        if line.here:
            told += _wrapped(f"here: {line.here}")
        if line.cpu:
            told += _wrapped(f"CPU ms an operation: {line.cpu}")
        for note in line.notes:
            told += _wrapped(note)
    return "\n".join(told)


def keep(folder: Path, name: str, lines: Iterable[Line], machine: Machine, how: str) -> None:
    """Takes the place of what was kept of this row before."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = read(folder)
    kept[name] = {
        "lines": [{**asdict(line), "verdict": line.verdict} for line in lines],
        "machine": asdict(machine),
        "described": machine.text,
        "how": how,
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, Kept]:
    path = folder / "results.json"
    found: dict[str, Kept] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def write(folder: Path, order: Sequence[str]) -> None:
    """results.md and the plots, from everything that is kept."""
    kept = read(folder)
    rows = [(name, kept[name]) for name in order if name in kept]
    limits = _limits(folder)
    (folder / "results.md").write_text("\n".join(_page(rows, limits)) + "\n", encoding="utf-8")
    bars = [
        plot.Bar(line["row"], line["figure"]["median"], line["reach"])
        for _, row in rows
        for line in row["lines"]
        if line["unit"] == "×"
    ]
    (folder / "ratios.svg").write_text(plot.bars("Against the baseline of the same run", bars))
    for name, row in rows:
        series = {line["row"]: line["series"] for line in row["lines"] if line["series"]}
        if series:
            (folder / f"{name}.svg").write_text(plot.curves(name.replace("-", " "), series))


def _page(rows: Sequence[tuple[str, Kept]], limits: Mapping[str, str]) -> list[str]:
    told = [
        "# Results",
        "",
        "Written by `make bench`; what each row does and what it is compared with stands in",
        "[README.md](README.md). A figure is a ratio to a baseline of the same run, the median of its",
        "rounds, unless its unit says otherwise.",
        "",
        "![ratios](ratios.svg)",
        "",
        "| row | figure | rounds | target | verdict |",
        "|---|---|---|---|---|",
    ]
    for _, row in rows:
        for line in row["lines"]:
            figure, reach = line["figure"], line["reach"]
            aim = (
                f"{'≥' if reach['is_least'] else '≤'} {reach['bound']:g} {reach['unit']}"
                if reach
                else "–"
            )
            told.append(
                f"| {line['row']} | {figure['median']:,.2f} {line['unit']} | "
                f"{figure['low']:,.2f}–{figure['high']:,.2f} | {aim} | {line['verdict']} |"
            )
    short = [
        line["row"]
        for _, row in rows
        for line in row["lines"]
        if line["verdict"] not in ("met", "reported")
    ]
    told += ["", "## What falls short, and what limits it", ""]
    told += [
        f"- **{name}**: {limits.get(name, 'not yet profiled; see limits.toml')}" for name in short
    ] or ["Nothing."]
    told += ["", "## Each row", ""]
    for name, row in rows:
        told += _section(name, row)
    return told


def _section(name: str, row: Kept) -> list[str]:
    machine = row["machine"]
    told = [f"### {name}", "", f"{machine['date']}, commit {machine['commit']}, {row['how']}."]
    told += [f"{row['described']}.", ""]
    for line in row["lines"]:
        parts = [line["here"], f"CPU ms an operation {line['cpu']}" if line["cpu"] else ""]
        told.append(
            f"- {line['row']}: " + "; ".join(part for part in (*parts, *line["notes"]) if part)
        )
    if any(line["series"] for line in row["lines"]):
        told += ["", f"![{name}]({name}.svg)"]
    return [*told, ""]


def _limits(folder: Path) -> Mapping[str, str]:
    path = folder / "limits.toml"
    if not path.exists():
        return {}
    found: Mapping[str, str] = tomllib.loads(path.read_text("utf-8")).get("limits", {})
    return found


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, NOTE_WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=False
    )
