"""Draws the figures of compare.py as SVG: a bar for each program, scaled within its row."""

import statistics
from xml.sax.saxutils import escape

COLORS = ["#d2562b", "#5b7fa6", "#8aa9c6", "#b9cbdc", "#d8dee6"]
LABELS = {"ours": "gpt_model!", "torch": "PyTorch"}
PANELS = [("prefill", "prompt"), ("decode", "decoding"), ("train", "training")]

WIDTH, MARGIN, GUTTER = 980, 24, 44
LABEL, VALUE, BAR, GAP = 132, 62, 11, 12


def median(values):
    return statistics.median(v for v in values if v is not None)


def text(x, y, content, size=12, anchor="start", color="#222", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{color}" font-weight="{weight}">{escape(content)}</text>'
    )


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row_name(title, kind):
    """Shortens `gpt2 f32 decode 64` to `gpt2 f32`."""
    return title.split(f" {kind}")[0]


def panel(x, y, width, kind, heading, figures, names):
    """The elements of a panel whose top left corner is (x, y), and its height."""
    rows = {title: found for title, found in figures.items() if f" {kind}" in title}
    if not rows:
        return [], 0
    shape = next(iter(rows)).split(f" {kind}")[1].strip()
    unit = f"{heading}, {shape} tokens" if kind != "train" else heading
    parts = [text(x, y + 14, f"{unit} (tokens/s)", 14, weight="bold")]
    at = y + 28
    for title, found in rows.items():
        present = [name for name in names if name in found]
        most = max(median(found[name]) for name in present)
        label = row_name(title, kind)
        middle = at + len(present) * BAR / 2 + 4
        parts.append(text(x + LABEL - 8, middle, label, 12, "end"))
        for name in present:
            value = median(found[name])
            length = max((width - LABEL - VALUE) * value / most, 1)
            color = COLORS[names.index(name) % len(COLORS)]
            parts.append(
                f'<rect x="{x + LABEL}" y="{at:.1f}" width="{length:.1f}" height="{BAR - 2}" fill="{color}"/>'
            )
            weight = "bold" if name == "ours" else "normal"
            parts.append(text(x + LABEL + length + 5, at + BAR - 2.5, number(value), 10, weight=weight))
            at += BAR
        at += GAP
    return parts, at - y


def chart(figures, names, caption):
    """An SVG of all rows. `names` orders the programs, ours first."""
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    parts, x = [], MARGIN
    for name, color in zip(names, COLORS):
        parts.append(f'<rect x="{x}" y="20" width="14" height="14" fill="{color}"/>')
        label = LABELS.get(name, name)
        parts.append(text(x + 20, 32, label, 13))
        x += 40 + 8 * len(label)
    columns = [56, 56]
    for kind, heading in PANELS:
        column = columns.index(min(columns))
        left = MARGIN + column * (width + GUTTER)
        drawn, height = panel(left, columns[column], width, kind, heading, figures, names)
        parts += drawn
        columns[column] += height + 12 if height else 0
    height = max(columns) + 24
    parts.append(text(MARGIN, height - 12, caption, 11, color="#666"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif">\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
