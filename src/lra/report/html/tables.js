// Sorts and searches the tables of a page.
// Rows are sorted within their group. A value is the first number of a cell, or its ratio where a
// cell is 10/12 or 10/12 [3]; a cell without one (FAIL, a status, 2/3 ok, -) comes last either way.
// A column without numbers is sorted by its words. The third press gives the file's order back.
for (const table of document.querySelectorAll("table.gt_table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  // the first line of each cell, read while all rows are shown: without a layout there are no lines
  const first = cell => cell.innerText.split("\n")[0].trim();
  const texts = new Map(rows.map(row => [row, [...row.cells].map(first)]));
  const isHead = row => row.classList.contains("gt_group_heading_row");
  const groups = [];
  for (const row of rows) {
    if (isHead(row) || !groups.length) groups.push({head: isHead(row) ? row : null, rows: []});
    if (!isHead(row)) groups.at(-1).rows.push(row);
  }
  const number = text => {
    const share = text.match(/^(\d+)\/(\d+)(\s*\[\d+\])?$/);
    if (share) return share[1] / share[2];
    const plain = text.replaceAll(",", "").replaceAll("\u2212", "-");
    const found = plain.match(/^[<>~]?\s*([-+]?\d*\.?\d+)(?![\d.]*\/)/);
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
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
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
