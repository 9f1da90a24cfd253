"""Bars as SVG: text stays text, and one drawing is legible on light and on dark pages."""

from html import escape

WIDTH, LEFT, RIGHT, ROW, BAR = 890, 352, 170, 26, 16
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.name { font-family: ui-monospace, SFMono-Regular, Menlo, "Liberation Mono", monospace; font-size: 12px }
.pgkeep { fill: #0969da }
.peer { fill: #8c959f }
.base { stroke: #57606a; stroke-dasharray: 3 3 }
.spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .pgkeep { fill: #4493f8 }
  .peer { fill: #6e7681 }
  .base { stroke: #9198a1 }
  .spread { stroke: #e6edf3 }
}
"""


def text(x, y, content, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def bars(top, title, rows, base=None):
    """One panel. `rows`: (name, side, value, least, most, label), drawn from the smallest value to the largest.

    `base` draws a line across at that value. Returns the drawing and where it ends.
    """
    rows = sorted(rows, key=lambda row: row[2])
    scale = (WIDTH - LEFT - RIGHT) / max(row[4] for row in rows)
    drawn = [text(0, top + 16, title, "title")]
    first = y = top + 30
    for name, side, value, least, most, label in rows:
        middle = y + ROW / 2
        drawn.append(text(LEFT - 8, middle + 4, name, "name", "end"))
        drawn.append(
            f'<rect x="{LEFT}" y="{middle - BAR / 2:.1f}" width="{max(value * scale, 1):.1f}" height="{BAR}" class="{side}"/>'
        )
        if most > least:
            from_x, to_x = LEFT + least * scale, LEFT + most * scale
            drawn.append(
                f'<path d="M{from_x:.1f} {middle - 4:.1f}v8M{from_x:.1f} {middle:.1f}H{to_x:.1f}M{to_x:.1f} {middle - 4:.1f}v8" class="spread"/>'
            )
        drawn.append(text(LEFT + max(value, most) * scale + 8, middle + 4, label))
        y += ROW
    if base:
        drawn.append(f'<path d="M{LEFT + base * scale:.1f} {first}V{y}" class="base"/>')
    return drawn, y + 16


def chart(title, panels):
    """A whole drawing of `panels`: (title, rows, base) each."""
    drawn, y = [], 44
    for panel in panels:
        part, y = bars(y, *panel)
        drawn += part
    legend = [
        text(0, 18, title, "title"),
        f'<rect x="{WIDTH - 190}" y="7" width="12" height="12" class="pgkeep"/>',
        text(WIDTH - 172, 18, "pgkeep"),
        f'<rect x="{WIDTH - 100}" y="7" width="12" height="12" class="peer"/>',
        text(WIDTH - 82, 18, "others"),
    ]
    names = ", ".join(row[0] + " " + row[5] for row in panels[0][1])
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {WIDTH + 16} {y:.0f}" width="{WIDTH + 16}" height="{y:.0f}" role="img" '
            f'aria-label="{escape(title)}: {escape(names)}">',
            f"<style>{STYLE}</style>",
            *legend,
            *drawn,
            "</svg>",
            "",
        ]
    )
