"""The parts of a page: its look, tables, pictures. Nothing is fetched: pictures lie in the page, and its policy lets nothing else in."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure

from recap_exp.comparison.style import svg

ROWS = 24
"""A longer table shows so many until it is opened."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color: #1c2126; background: #f6f7f8; font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
body { max-width: 1180px; margin: 0 auto; padding: 2.2rem 1.4rem 4rem; }
h1 { font-size: 1.55rem; margin: 0 0 .2rem; } h2 { font-size: 1.12rem; margin: 2.4rem 0 .5rem; }
p { margin: .35rem 0; max-width: 62rem; } .said { font-size: 1.05rem; } .dim { color: #6a727b; }
.note { border-left: 3px solid #E69F00; background: #fff8e8; padding: .35rem .7rem; margin: .4rem 0; }
.wide { width: fit-content; max-width: 100%; overflow-x: auto; }
.wide { background: #fff; border: 1px solid #e3e6e9; border-radius: 6px; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .36rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #eef0f2; }
th { font-weight: 600; color: #4a525a; background: #fafbfb; vertical-align: bottom; }
td.n, th.n { text-align: right; } td.n, th.n, td:first-child { white-space: nowrap; } tr:last-child td { border-bottom: 0; }
tr.reference td { font-weight: 600; } tr.out td { color: #8b939b; }
i.dot { display: inline-block; width: .62em; height: .62em; border-radius: 50%; margin-right: .45em; }
figure { margin: .7rem 0; background: #fff; border: 1px solid #e3e6e9; border-radius: 6px; padding: .9rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: .9rem; align-items: start; }
.pictures figure { margin: 0; } .pictures .all { grid-column: 1 / -1; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: #6a727b; font-size: .86rem; margin-top: .5rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: #4a525a; }
code { font-size: .92em; } td:last-child code { overflow-wrap: anywhere; }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}{policy}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'


def cell(text: str, *, number: bool = False, code: bool = False, dot: str | None = None, full: str | None = None) -> str:
    """A table's cell. number: to the right. dot: a colour before the text. full: what the pointer shows, where the text is cut."""
    inner = f"<code>{escape(text)}</code>" if code else escape(text)
    mark = f'<i class="dot" style="background:{dot}"></i>' if dot else ""
    title = f' title="{escape(full)}"' if full is not None and full != text else ""
    return f"<td{_right(number)}{title}>{mark}{inner}</td>"


def table(names: Sequence[str], numbers: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """names: of the columns; numbers: those of them that stand to the right; rows: (kind, cells)."""
    heads = "".join(f"<th{_right(name in numbers)}>{escape(name).replace('.', '.<wbr>')}</th>" for name in names)

    def part(shown: Sequence[tuple[str, Sequence[str]]]) -> str:
        body = "".join(f'<tr class="{kind}">{"".join(cells)}</tr>' for kind, cells in shown)
        return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'

    if len(rows) <= 1.5 * ROWS:
        return part(rows)
    return f"{part(rows[:ROWS])}<details><summary>and {len(rows) - ROWS} more</summary>{part(rows[ROWS:])}</details>"


def _right(number: bool) -> str:
    return ' class="n"' if number else ""


def pictures(drawn: Sequence[tuple[Figure, str]]) -> str:
    """Figures with what is said beneath them, two in a line where they fit."""
    out = []
    for figure, said in drawn:
        width, height = (int(96 * inches) for inches in figure.get_size_inches())
        title = next((t for ax in figure.axes if (t := ax.get_title(loc="left"))), said)
        image = f'<img width="{width}" height="{height}" alt="{escape(title)}" src="{svg(figure)}">'
        kind = "all" if width > 820 else "half"
        out.append(f'<figure class="{kind}">{image}<figcaption>{escape(said)}</figcaption></figure>')
    return f'<div class="pictures">{"".join(out)}</div>'
