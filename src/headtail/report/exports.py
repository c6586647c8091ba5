"""A table for other programs: CSV with every digit, LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math

from headtail.report.tables import BETTER, WORSE, Column, Measured, Table, Value, one_line

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\rightarrow$", "–": "--", "′": r"$'$",
    "▲": r"$^{\blacktriangle}$", "▼": r"$^{\blacktriangledown}$", "<": r"\textless{}", ">": r"\textgreater{}",
})    # fmt: skip


def csv_table(table: Table) -> str:
    """Comma-separated, one header line; values unrounded, an interval as two columns after its value, then the mark."""
    told = [any(isinstance(row[i], Measured) for row in table.rows) for i in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header: list[str] = []
    for column, measured in zip(table.columns, told, strict=True):
        name = _full_name(column)
        header += [name, f"{name} low", f"{name} high", f"{name} mark"] if measured else [name]
    writer.writerow(header)
    for row in table.rows:
        cells: list[str] = []
        for value, measured in zip(row, told, strict=True):
            cells += _measured(value) if measured else [_plain(value)]
        writer.writerow(cells)
    return out.getvalue()


def _full_name(column: Column) -> str:
    return one_line(" ".join(filter(None, (column.group, column.name))))


def _measured(value: Value) -> list[str]:
    if not isinstance(value, Measured):
        return [_plain(value), "", "", ""]
    low, high = value.interval or (None, None)
    return [_plain(value.value), _plain(low), _plain(high), {BETTER: "better", WORSE: "worse"}.get(value.mark, "")]


def _plain(value: Value) -> str:
    if value is None or isinstance(value, Measured) or (isinstance(value, float) and math.isnan(value)):
        return ""
    return one_line(value) if isinstance(value, str) else repr(value)


def latex(table: Table) -> str:
    """A `tabular` with booktabs' rules (and amssymb's triangles for marks); the best value of a column in bold.

    The caption, the note and the footnotes stand around it as comments, to be put where the paper wants them.
    """
    aligned = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [f"% {one_line(line)}" for line in (table.title, table.note) if line]
    lines += ["% needs \\usepackage{booktabs,amssymb}", f"\\begin{{tabular}}{{{aligned}}}", "\\toprule"]
    if table.grouped:
        lines += _group_heading(table)
    lines += [" & ".join(_tex(column.name) for column in table.columns) + r" \\", "\\midrule"]
    for row in table.cells():
        texts = [(f"\\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text)) + _tex(cell.mark) for cell in row]
        lines.append(" & ".join(texts) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {one_line(line)}" for line in table.footnotes)]
    return "\n".join(lines) + "\n"


def _group_heading(table: Table) -> list[str]:
    names, rules, at = [], [], 1
    for group, count, places in table.groups():
        heading = _tex(group) + (f" ($n={count:,}$)" if count is not None else "")
        names.append(f"\\multicolumn{{{len(places)}}}{{c}}{{{heading}}}" if group else " & ".join([""] * len(places)))
        if group:
            rules.append(f"\\cmidrule(lr){{{at}-{at + len(places) - 1}}}")
        at += len(places)
    return [" & ".join(names) + r" \\", " ".join(rules)]


def _tex(text: str) -> str:
    return one_line(text).translate(_LATEX)
