// Makes the tables of a page sortable, and those that are longer than a screen searchable.

const SEARCHED = 15; // rows: a shorter table is seen at a glance

// The value by which a cell is sorted: its first number, or its ratio where the cell is 10/12 or
// 10/12 [3]. NaN for a cell without one: FAIL, a status, 2/3 ok, -.
function valueOf(text) {
  const share = text.match(/^(\d+)\/(\d+)(\s*\[\d+\])?$/);
  if (share) return share[1] / share[2];
  const plain = text.replaceAll(",", "").replaceAll("\u2212", "-");
  const found = plain.match(/^[<>~]?\s*([-+]?\d*\.?\d+)(?![\d.]*\/)/);
  return found ? Number(found[1]) : NaN;
}

// The rows of a table by group: [{head: row or null, rows: [...]}, ...].
function groupsOf(rows) {
  const groups = [];
  for (const row of rows) {
    const isHead = row.classList.contains("gt_group_heading_row");
    if (isHead || !groups.length) groups.push({head: isHead ? row : null, rows: []});
    if (!isHead) groups.at(-1).rows.push(row);
  }
  return groups;
}

// Adds a button to each heading. Rows are sorted within their group; cells without a value come
// last in either order; the third press restores the file's order.
function makeSortable(table, body, rows, groups) {
  // The first line of each cell, read while all rows are shown: a hidden cell has no lines.
  const firstLine = cell => cell.innerText.split("\n")[0].trim();
  const texts = new Map(rows.map(row => [row, [...row.cells].map(firstLine)]));
  const textAt = (row, column) => texts.get(row)[column] ?? "";

  function compare(a, b, column, sign) {
    const [s, t] = [textAt(a, column), textAt(b, column)];
    const [x, y] = column ? [valueOf(s), valueOf(t)] : [NaN, NaN];
    if (isNaN(x) && isNaN(y)) return sign * s.localeCompare(t);
    return isNaN(x) - isNaN(y) || sign * (x - y);
  }

  const heads = [...table.querySelectorAll("tr.gt_col_headings:last-of-type th.gt_col_heading")];
  heads.forEach((head, column) => {
    // A column without values, and the names of the rows, start in alphabetical order.
    const isText = !column || rows.every(row => isNaN(valueOf(textAt(row, column))));
    const orders = isText ? ["ascending", "descending"] : ["descending", "ascending"];

    const button = document.createElement("button");
    button.className = "sort";
    button.type = "button";
    button.title = "sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach(each => each.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      for (const group of groups) {
        const sorted = [...group.rows];
        if (order) sorted.sort((a, b) => compare(a, b, column, sign));
        body.append(...(group.head ? [group.head] : []), ...sorted);
      }
    };
  });
}

// Adds a search field above the table. A row is shown where it, with its group's heading, has
// every word of the field.
function makeSearchable(table, groups) {
  const field = document.createElement("input");
  field.type = "search";
  field.className = "find";
  field.placeholder = "search rows";
  field.setAttribute("aria-label", "search the rows of this table");
  field.oninput = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const group of groups) {
      const name = group.head ? group.head.textContent : "";
      for (const row of group.rows) {
        const text = (name + " " + row.textContent).toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
      }
      if (group.head) group.head.hidden = group.rows.every(row => row.hidden);
    }
  };
  table.before(field);
}

addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.gt_table")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const groups = groupsOf(rows);
    makeSortable(table, body, rows, groups);
    if (rows.length > SEARCHED) makeSearchable(table, groups);
  }
});
