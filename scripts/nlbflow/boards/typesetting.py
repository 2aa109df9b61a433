"""Sheets in Markdown, LaTeX (booktabs) and HTML."""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nlbflow.boards.cells import FAILED
from nlbflow.boards.boards import Cell
from nlbflow.boards.sheets import LEGEND, Sheet, definitions, reasons
from nlbflow.boards.tables import place_title

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "–": "--", "—": "---", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "|": r"\textbar{}",
    '"': "''", **{c: "\\" + c for c in "{}$&#%_"}, **{c: c for c in "ßøØæÆåÅ"}, "ł": r"\l{}", "Ł": r"\L{}",
    "“": "``", "”": "''", "‘": "`", "’": "'", "\u2044": "/",
    # at the start of a row, LaTeX would take them for an argument of the previous row's end
    "[": "{[}", "*": "{*}",
}  # fmt: skip
# "<" becomes "&lt;" instead; within a word Markdown does not read an underscore as markup
MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")
# grave, acute, circumflex, tilde, diaeresis, cedilla, caron: in any font LaTeX sets them on letters before LATIN_END
LATIN_END = "\u0180"
ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u0327\u030c"

# a score this large is not worth its digits
FAR_OUT = 1000


@dataclass(frozen=True)
class Markup:
    """How a markup language writes a text, a number, the two marks, the key of a note, a spread and the star."""

    text: Callable[[str], str]
    number: Callable[[str], str]
    best: str
    second: str
    key: str
    spread: str
    star: str


def markdown_text(text: str) -> str:
    """Text for one line of Markdown, a cell or a paragraph, in which nothing is read as markup, by a terminal neither:
    characters that cannot be seen become question marks."""
    seen = "".join(part if part.isprintable() else "?" for part in " ".join(text.split()))
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", seen).replace("<", "&lt;")


def latex_text(text: str) -> str:
    """Text for LaTeX; a character that its usual fonts lack loses its accents or becomes a question mark."""
    return "".join(map(_latex_character, " ".join(unicodedata.normalize("NFC", text).split())))


def _latex_character(character: str) -> str:
    if character in LATEX_SPECIAL:
        return LATEX_SPECIAL[character]
    letter, *others = unicodedata.normalize("NFKD", character)
    if character < LATIN_END and letter.isascii() and len(others) == 1 and others[0] in ACCENTS:
        return character
    plain = [part for part in (letter, *others) if not unicodedata.combining(part)]
    return "".join(LATEX_SPECIAL.get(part, part if part.isascii() and part.isprintable() else "?") for part in plain)


MARKDOWN = Markup(markdown_text, str, "**{}**", "<u>{}</u>", " ({})", " ± {}", " *")
LATEX = Markup(
    latex_text, lambda number: number.replace("-", "$-$"), r"\textbf{{{}}}", r"\underline{{{}}}",
    r"\textsuperscript{{{}}}", r" $\pm$ {}", r"\textsuperscript{*}",
)  # fmt: skip
HTML = Markup(html.escape, str, "<b>{}</b>", "<u>{}</u>", "<sup>{}</sup>", " ± {}", " *")


def written(value: float, digits: int) -> str:
    """A number with `digits` decimals; very large numbers take no more room than others."""
    return f"{value:.{digits}f}" if abs(value) < FAR_OUT else f"{value:.2e}"


def cell_text(cell: str | Cell, markup: Markup, keys: Mapping[str, str]) -> str:
    """A score with its interval, its spread over seeds and its marks; or a dash or `failed`, with the key of the
    reason."""
    if isinstance(cell, str):
        return markup.text(cell)
    if cell.value is None:
        return markup.text("failed" if cell.missing.startswith(FAILED) else "–") + markup.key.format(keys[cell.missing])
    value = markup.number(written(cell.value, 4))
    if cell.mark:
        value = getattr(markup, cell.mark).format(value)
    if cell.low is not None:
        value += " " + markup.number(f"[{written(cell.low, 3)}, {written(cell.high, 3)}]")
    if cell.sd is not None:
        value += markup.spread.format(written(cell.sd, 4))
    return value + (markup.star if cell.unbeaten else "")


def to_markdown(sheet: Sheet, level: int = 2) -> str:
    """The sheet as an aligned Markdown table with its notes, under a heading of the given level."""
    keys, lines = reasons(sheet), [f"{'#' * level} {markdown_text(sheet.title)}", ""]
    table = [[markdown_text(name) for name in sheet.header]]
    for title, rows in sheet.groups:
        if title:
            heading = [""] * len(sheet.header)
            heading[sheet.header.index("model")] = f"*{markdown_text(title)}*"
            table.append(heading)
        table += [[cell_text(cell, MARKDOWN, keys) for cell in row] for row in rows]
    if sheet.groups:
        widths = [max(len(row[i]) for row in table) for i in range(len(sheet.header))]
        table.insert(1, ["-" * width for width in widths])
        lines += ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in table]
        lines.append("")
    for note in _notes(sheet, keys):
        lines += [markdown_text(note), ""]
    return "\n".join(lines)


def to_latex(sheet: Sheet, label: str) -> str:
    """The sheet as a `longtable` with its notes; needs the packages booktabs and longtable."""
    keys, columns = reasons(sheet), len(sheet.header)
    out = [r"\begingroup\sloppy\scriptsize\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{'l' * columns}}}"]
    out.append(rf"\caption{{{latex_text(sheet.title)}}}\label{{{label}}}\\")
    header = " & ".join(latex_text(name) for name in sheet.header) + r" \\"
    out += [r"\toprule", header, r"\midrule", r"\endfirsthead", r"\toprule", header, r"\midrule", r"\endhead"]
    out += [r"\bottomrule", r"\endlastfoot"]
    for i, (title, rows) in enumerate(sheet.groups):
        out += [r"\midrule"] if i else []
        out += [rf"\multicolumn{{{columns}}}{{l}}{{\textit{{{latex_text(title)}}}}} \\"] if title else []
        out += [" & ".join(cell_text(cell, LATEX, keys) for cell in row) + r" \\" for row in rows]
    out.append(r"\end{longtable}")
    if not sheet.groups:
        out = [rf"\begingroup\sloppy\scriptsize\noindent\textbf{{{latex_text(sheet.title)}}}\par"]
    out += [rf"\noindent {latex_text(note)}\par" for note in _notes(sheet, keys)]
    return "\n".join([*out, r"\endgroup", ""])


def to_html(sheet: Sheet) -> str:
    """The sheet as an HTML table with its notes."""
    keys, columns = reasons(sheet), len(sheet.header)
    out = [f"<div role='region' aria-label='{html.escape(sheet.title)}' tabindex='0'>"]
    out.append(f"<table><caption>{html.escape(sheet.title)}</caption><thead><tr>")
    out += [f"<th scope='col'>{html.escape(name)}</th>" for name in sheet.header]
    out.append("</tr></thead>")
    for (title, rows), aside in zip(sheet.groups, sheet.aside, strict=True):
        out.append("<tbody>")
        if title:
            out.append(f"<tr><th scope='rowgroup' colspan='{columns}'>{html.escape(title)}</th></tr>")
        for row, apart in zip(rows, aside, strict=True):
            # a reader of the screen is told the model with each cell
            cells = "".join(
                f"<th scope='row'>{cell_text(cell, HTML, keys)}</th>"
                if name == "model"
                else f"<td>{cell_text(cell, HTML, keys)}</td>"
                for name, cell in zip(sheet.header, row, strict=True)
            )
            out.append(f"<tr class='aside'>{cells}</tr>" if apart else f"<tr>{cells}</tr>")
        out.append("</tbody>")
    out.append("</table></div>")
    if not sheet.groups:
        out = [f"<h2>{html.escape(sheet.title)}</h2>"]
    return "\n".join(out + [f"<p>{html.escape(note)}</p>" for note in _notes(sheet, keys)]) + "\n"


def _notes(sheet: Sheet, keys: Mapping[str, str]) -> list[str]:
    missing = "; ".join(f"{key}: {reason}" for reason, key in keys.items())
    return [*([f"Missing – {missing.rstrip('.')}."] if missing else []), *sheet.notes]


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}
body{color:#1a1a1a;background:#fff}p{max-width:60rem}
table{border-collapse:collapse;margin:.5rem 0 1rem}caption,th[scope=rowgroup]{text-align:left;font-weight:600}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left;font-variant-numeric:tabular-nums}
th[scope=row]{font-weight:400}td,th[scope=row]{white-space:nowrap}div{overflow-x:auto}tr.aside{color:#666;font-style:italic}
@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}tr.aside{color:#aaa}th,td{border-color:#444}}"""


def html_page(title: str, body: str) -> str:
    """One self-contained page."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>\n{body}</html>\n"
    )


def markdown_page(
    sheets: list[Sheet], absent: list[list], made: str, notes: dict[tuple, list[str]] | None = None
) -> str:
    """The leaderboards in Markdown, followed by the `absent` rows (dataset, bin_ms, phase, what, reason) and the notes
    on places that have no table. `made` says from what config, by what software and when they were made."""
    lines = ["# Leaderboards", "", f"Made {markdown_text(made)}.", "", LEGEND, ""]
    lines += [*(f"- {markdown_text(line)}" for line in definitions(sheets)), ""]
    lines += [to_markdown(sheet) for sheet in sheets]
    if absent:
        said = [f"{place_title(*place)}: {what}: {reason}" for *place, what, reason in absent]
        lines += ["## Not scored", "", *(f"- {markdown_text(line)}" for line in said), ""]
    if notes:
        said = [f"{place_title(*place)}: {note}" for place, found in notes.items() for note in found]
        lines += ["## Notes on the data", "", *(f"- {markdown_text(line)}" for line in said), ""]
    return "\n".join(lines)
