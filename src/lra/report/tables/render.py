"""A table as people read it, as Markdown, LaTeX (booktabs) and HTML (great-tables)."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Literal

import pandas as pd
from great_tables import GT
from great_tables import html as raw
from tabulate import tabulate

from lra.report.html import head as sortable_head
from lra.report.item import Item

Mark = Literal["", "best", "second"]
SIGNS = {
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "…": r"\dots{}",
    "≈": r"$\approx$",
    "∼": r"$\sim$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
}
RAISED = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"  # letters of notes; there is no q
SIGNS |= {
    raised: f"$^{{{c}}}$" for raised, c in zip(RAISED, "abcdefghijklmnoprstuvwxyz", strict=True)
}
LATEX = SIGNS | {c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}"}
LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LETTERS = set(map(chr, range(0xC0, 0x100))) - set("×÷ÐðÞþ")  # LaTeX takes é as it is
HTML = {"": "{}", "best": "<strong>{}</strong>", "second": "<u>{}</u>"}
VIEW = '<meta name="viewport" content="width=device-width, initial-scale=1">'
MARKDOWN = {"": "{}", "best": "**{}**", "second": "<u>{}</u>"}
TEX = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}


@dataclass(frozen=True)
class Entry:
    text: str
    under: str = ""  # smaller lines below
    mark: Mark = ""  # among the entries of its column
    grey: bool = False  # of little meaning: no model learned the task


@dataclass(frozen=True)
class Row:
    name: str
    entries: list[Entry]
    group: str = ""  # heading over neighbouring rows of the same group


@dataclass(frozen=True)
class Table:
    caption: str
    columns: list[str]  # headings, of one line or two
    rows: list[Row]
    notes: list[str]
    stub: str = "model"  # what the rows are
    folded: list[str] = field(default_factory=list)  # notes that few readers need, after the others

    @property
    def grouped(self) -> list[tuple[str, list[Row]]]:
        return [(name, list(rows)) for name, rows in groupby(self.rows, lambda row: row.group)]


def markdown(table: Table, item: Item) -> str:
    """A pipe table for GitHub and Pandoc, with smaller lines after a `<br>`."""
    lines = []
    for group, rows in table.grouped:
        if group:
            lines.append([f"**{_pipes(group)}**"] + [""] * len(table.columns))
        lines += [[_pipes(row.name)] + [_markdown_entry(e) for e in row.entries] for row in rows]
    body = tabulate(
        lines,
        [table.stub, *(_pipes(column).strip().replace("\n", "<br>") for column in table.columns)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] + ["right"] * len(table.columns),
    )
    text = f"**{item.title}.** {table.caption}\n\n{body}\n"
    for head, notes in (("", table.notes), ("Further notes:\n\n", table.folded)):
        lines = "".join(f"- {note}\n" for note in notes)
        text += f"\n{head}{lines}" if notes else ""
    return text


def latex(table: Table, item: Item) -> str:
    """A floating table, as wide as the line at most, that needs the packages booktabs and graphicx.

    Raises ValueError naming a character that it has no form for.
    """
    lines = []
    for number, (group, rows) in enumerate(table.grouped):
        if group:
            lines += [r"\midrule"] if number else []
            span = len(table.columns) + 1
            lines.append(rf"\multicolumn{{{span}}}{{l}}{{\emph{{{_tex(group)}}}}} \\")
        for row in rows:
            entries = [TEX[e.mark].format(_tex(e.text)) for e in row.entries]
            lines.append(" & ".join([_tex(row.name), *entries]) + r" \\")
            for texts in zip_longest(*(e.under.splitlines() for e in row.entries), fillvalue=""):
                small = [rf"{{\scriptsize {_tex(text)}}}" if text else "" for text in texts]
                lines.append(" & ".join(["", *small]) + r" \\")
            if any(e.under for e in row.entries):
                lines[-1] += "[2pt]"
    headings = zip(*(["", *c.split("\n")][-2:] for c in [table.stub, *table.columns]), strict=True)
    head = "\n".join(" & ".join(map(_tex, line)) + r" \\" for line in headings if any(line))
    notes = table.notes + table.folded
    notes = "".join(f"\n\\par\\smallskip\\raggedright {_tex(note)}" for note in notes)
    body = "\n".join(lines)
    return rf"""% \usepackage{{booktabs,graphicx}}
\begin{{table}}
\centering\footnotesize
\setlength{{\tabcolsep}}{{4pt}}
\caption{{\textbf{{{_tex(item.title)}.}} {_tex(table.caption)}}}
\label{{tab:{item.name}}}
\smallskip
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
\begin{{tabular}}{{l{"r" * len(table.columns)}}}
\toprule
{head}
\midrule
{body}
\bottomrule
\end{{tabular}}}}{notes}
\end{{table}}
"""


def page(table: Table, item: Item) -> str:
    """A self-contained HTML page, whose table can be sorted and searched."""
    # Columns by number, so that two of the same name do no harm.
    columns = [f"c{i}" for i in range(len(table.columns))]
    headings = [raw(html.escape(c).strip().replace("\n", "<br>")) for c in table.columns]
    rows = [[row.group, row.name, *map(_html_entry, row.entries)] for row in table.rows]
    frame = pd.DataFrame(rows, columns=["group", "model", *columns])
    group = "group" if any(frame["group"]) else None
    frame = frame if group else frame.drop(columns="group")
    shown = (
        GT(frame, id=item.name, rowname_col="model", groupname_col=group)
        .tab_header(item.title, raw(_wrapped(table.caption)))
        .tab_stubhead(table.stub)
        .fmt(str, columns=columns)  # as they are: the entries are HTML
        .cols_align("right", columns=columns)
        .cols_label(dict(zip(columns, headings, strict=True)))
        .tab_options(
            table_font_size="14px",
            heading_align="left",
            heading_subtitle_font_size="13px",
            row_group_font_weight="bold",
            data_row_padding="5px",
        )
    )
    for note in table.notes:
        shown = shown.tab_source_note(raw(_wrapped(note)))
    if table.folded:
        items = "".join(f"<li>{html.escape(note)}</li>" for note in table.folded)
        summary = "<summary>Further notes</summary>"
        shown = shown.tab_source_note(
            raw(f'<details class="wrap">{summary}<ul>{items}</ul></details>')
        )
    content = shown.as_raw_html(make_page=True)
    head = f"<head>\n<title>{html.escape(item.title)}</title>\n{VIEW}\n"
    return content.replace("<head>", head + sortable_head(), 1)


def _markdown_entry(entry: Entry) -> str:
    text = MARKDOWN[entry.mark].format(_pipes(entry.text))
    return text + "".join(f"<br><sub>{_pipes(line)}</sub>" for line in entry.under.splitlines())


def _html_entry(entry: Entry) -> str:
    text = HTML[entry.mark].format(html.escape(entry.text))
    small = '<br><span style="font-size: 80%; color: #595959">{}</span>'
    under = "".join(small.format(html.escape(line)) for line in entry.under.splitlines())
    grey = ' class="unlearned"' if entry.grey else ""
    return f'<span{grey} style="white-space: nowrap">{text}{under}</span>'


def _wrapped(text: str) -> str:
    """Text that wraps at the screen's width and stays in sight where the table is wider."""
    return f'<span class="wrap">{html.escape(text)}</span>'


def _pipes(text: str) -> str:
    return text.replace("|", "\\|")


def _tex(text: str) -> str:
    for character in text:
        if not (character.isascii() or character in LATEX or character in LETTERS):
            raise ValueError(f"{character!r} in {text!r}: no form in LaTeX; add it to render.SIGNS")
    return "".join(LATEX.get(character, character) for character in text)
