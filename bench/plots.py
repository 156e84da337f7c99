# SPDX-License-Identifier: MIT
"""Plots as SVG text, for bench/report: logarithmic, as figures differ by factors of a thousand."""

import html
import math

COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e"]


def _log(value):
    return math.log10(max(value, 1))


def _text(x, y, text, anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _svg(width, height, parts):
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">' + "\n".join(parts) + "</svg>"


SIDES = ["linux", "dune", "dune by ioctl"]


def bars(rows, unit):
    """One bar for each side of each case."""
    items = [(row.title(), [(side, record["median"]) for side, record in row.sides.items() if record.get("median")])
             for row in rows]
    items = [(title, values) for title, values in items if values]
    if not items:
        return ""
    left, right, step, gap, legend = 380, 860, 16, 8, 24
    top = math.ceil(max(_log(value) for _, values in items for _, value in values)) or 1
    height = legend + sum(step * len(values) + gap for _, values in items) + 30
    parts = []
    for power in range(top + 1):
        x = left + (right - left) * power / top
        parts.append(f'<line x1="{x:.0f}" y1="{legend}" x2="{x:.0f}" y2="{height - 25}" class="grid"/>')
        parts.append(_text(x, height - 8, f"1e{power}" if power > 3 else f"{10 ** power:,}", "middle"))
    for i, side in enumerate(side for side in SIDES if any(side in dict(values) for _, values in items)):
        parts.append(f'<rect x="{left + 110 * i}" y="4" width="12" height="12" fill="{COLOURS[SIDES.index(side)]}"/>')
        parts.append(_text(left + 110 * i + 17, 14, side))
    parts.append(_text(right, 14, unit, "end"))
    y = legend
    for title, values in items:
        parts.append(_text(left - 8, y + step * len(values) / 2 + 4, title, "end"))
        for side, value in values:
            width = (right - left) * _log(value) / top
            parts.append(f'<rect x="{left}" y="{y + 1}" width="{width:.1f}" height="{step - 2}" '
                         f'fill="{COLOURS[SIDES.index(side)]}"/>')
            parts.append(_text(left + width + 5, y + 12, f"{value:,}"))
            y += step
        y += gap
    return _svg(right + 100, height, parts)


def _curve(title, x_name, lines):
    """@lines: name -> [(x, y)]; both axes logarithmic."""
    width, height, left, bottom, right = 900, 360, 80, 320, 560
    points = [point for line in lines.values() for point in line]
    x0, x1 = (f(_log(x) for x, _ in points) for f in (min, max))
    y0, y1 = (g(f(_log(y) for _, y in points)) for f, g in ((min, math.floor), (max, math.ceil)))
    x1, y1 = max(x1, x0 + 0.1), max(y1, y0 + 1)

    def place(x, y):
        return left + (right - left) * (_log(x) - x0) / (x1 - x0), bottom - (bottom - 30) * (_log(y) - y0) / (y1 - y0)

    parts = [_text(left, 16, title)]
    for power in range(y0, y1 + 1):
        y = place(1, 10 ** power)[1]
        parts.append(f'<line x1="{left}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" class="grid"/>')
        parts.append(_text(left - 6, y + 4, f"1e{power}", "end"))
    for x in sorted({x for x, _ in points}):
        parts.append(_text(place(x, 1)[0], bottom + 18, f"{x:,}", "middle"))
    parts.append(_text((left + right) / 2, bottom + 36, x_name, "middle"))
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        at = [place(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
        parts.append(f'<rect x="{right + 20}" y="{30 + 20 * i}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(right + 38, 41 + 20 * i, name))
    return _svg(width, height + 10, parts)


def _lines(rows, x_of):
    """Row and side -> [(x, median)], of rows that differ in nothing else."""
    lines = {}
    for row in rows:
        for side, record in row.sides.items():
            if record.get("median"):
                lines.setdefault(f"{row.name} ({side})", []).append((x_of(row), record["median"]))
    return lines


def curves(rows, unit):
    """By the number of pages at the commonest number written, and by the number written at the commonest of pages."""
    out = []
    for x_of, fixed_of, title, x_name in (
            (lambda row: row.pages, lambda row: row.dirty, "pages written", "pages mapped"),
            (lambda row: row.dirty, lambda row: row.pages, "pages mapped", "pages written")):
        values = [fixed_of(row) for row in rows if row.pages]
        fixed = max(set(values), key=values.count)
        lines = _lines([row for row in rows if row.pages and fixed_of(row) == fixed], x_of)
        if lines:
            out.append(_curve(f"{fixed:,} {title}: {unit}", x_name, lines))
    return out


def curves_of_threads(rows, unit):
    lines = _lines([row for row in rows if row.threads], lambda row: row.threads)
    return [_curve(f"By threads: {unit}", "threads", lines)] if lines else []
