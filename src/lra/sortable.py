"""What lets the tables of a page be sorted and searched: a style and a script, nothing to fetch."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; }
.wrap { display: inline-block; position: sticky; left: 5px; max-width: min(100%, 92vw);
  white-space: normal; text-align: left; }
.find { font: inherit; margin: 0 0 .4rem 5px; padding: .3rem .5rem; width: 14rem; max-width: 80%;
  border: 1px solid #8a8a8a; border-radius: 4px; background: transparent; color: inherit; }
th .sort { all: unset; cursor: pointer; }
th .sort:focus-visible { outline: 2px solid #0173b2; outline-offset: 2px; }
th .sort::after { content: "\\a0\\2195"; opacity: .45; }
th[aria-sort=ascending] .sort::after { content: "\\a0\\2191"; opacity: 1; }
th[aria-sort=descending] .sort::after { content: "\\a0\\2193"; opacity: 1; }
.gt_table th.gt_stub, .gt_table th.gt_col_heading:first-child { position: sticky; left: 0; }
tr[hidden] { display: none; }
@media (prefers-color-scheme: dark) {
  .gt_table, .gt_table * { background-color: #17191c !important; color: #e4e4e4 !important;
    border-color: #4a4d52 !important; }
}
"""
# Rows are sorted within their group. A figure is the first number of a cell, or its ratio where a
# cell is 10/12 or 10/12 [3]; a cell without one (FAIL, a status, 2/3 ok, -) comes last either way.
# A column without figures is sorted by its words. The third press gives the file's order back.
SCRIPT = """
for (const table of document.querySelectorAll("table.gt_table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  // the first line of each cell, read while all rows are shown: without a layout there are no lines
  const first = cell => cell.innerText.split("\\n")[0].trim();
  const texts = new Map(rows.map(row => [row, [...row.cells].map(first)]));
  const isHead = row => row.classList.contains("gt_group_heading_row");
  const groups = [];
  for (const row of rows) {
    if (isHead(row) || !groups.length) groups.push({head: isHead(row) ? row : null, rows: []});
    if (!isHead(row)) groups.at(-1).rows.push(row);
  }
  const number = text => {
    const share = text.match(/^(\\d+)\\/(\\d+)(\\s*\\[\\d+\\])?$/);
    if (share) return share[1] / share[2];
    const plain = text.replaceAll(",", "").replaceAll("\\u2212", "-");
    const found = plain.match(/^[<>~]?\\s*([-+]?\\d*\\.?\\d+)(?![\\d.]*\\/)/);
    return found ? Number(found[1]) : NaN;
  };
  const at = (row, column) => texts.get(row)[column] ?? "";
  const compare = (a, b, column, sign) => {
    const [s, t] = [at(a, column), at(b, column)];
    const [x, y] = column ? [number(s), number(t)] : [NaN, NaN];
    if (isNaN(x) && isNaN(y)) return sign * s.localeCompare(t);
    return isNaN(x) - isNaN(y) || sign * (x - y);
  };
  const heads = [...table.querySelectorAll("tr.gt_col_headings:last-of-type th.gt_col_heading")];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.className = "sort";
    button.type = "button";
    button.title = "sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    const words = !column || rows.every(row => isNaN(number(at(row, column))));
    button.onclick = () => {
      const [one, other] = words ? ["ascending", "descending"] : ["descending", "ascending"];
      const now = head.getAttribute("aria-sort");
      const next = now === one ? other : now === other ? null : one;
      heads.forEach(each => each.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      for (const group of groups) {
        const own = [...group.rows];
        if (next) own.sort((a, b) => compare(a, b, column, sign));
        body.append(...(group.head ? [group.head] : []), ...own);
      }
    };
  });
  const find = document.createElement("input");
  find.type = "search";
  find.className = "find";
  find.placeholder = "search rows";
  find.setAttribute("aria-label", "search the rows of this table");
  find.oninput = () => {
    const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const group of groups) {
      const name = group.head ? group.head.textContent : "";
      for (const row of group.rows) {
        const text = (name + " " + row.textContent).toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
      }
      if (group.head) group.head.hidden = group.rows.every(row => row.hidden);
    }
  };
  table.before(find);
}
"""
WHEN_READ = f"addEventListener('DOMContentLoaded', () => {{{SCRIPT}}})"
HEAD = f"<style>{STYLE}</style>\n<script>{WHEN_READ}</script>"
