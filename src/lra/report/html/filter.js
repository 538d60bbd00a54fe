// Hides the rows, marks and labels of the models that are not ticked.

const boxes = [...document.querySelectorAll("#filter input")];
const names = new Set(boxes.map(box => box.value));

// The rows of tables are known by their name: a table's file knows nothing of models.
for (const row of document.querySelectorAll("tbody tr")) {
  const name = row.querySelector(".gt_stub")?.textContent.trim();
  if (names.has(name)) row.dataset.model = name;
}

function show() {
  const off = new Set(boxes.filter(box => !box.checked).map(box => box.value));
  for (const element of document.querySelectorAll("[data-model]"))
    element.classList.toggle("off", off.has(element.dataset.model));
  // A group of rows without a row loses its heading.
  for (const head of document.querySelectorAll(".gt_group_heading_row")) {
    let row = head.nextElementSibling;
    const isRow = () => row && !row.classList.contains("gt_group_heading_row");
    while (isRow() && (row.hidden || row.classList.contains("off"))) row = row.nextElementSibling;
    head.classList.toggle("off", !isRow());
  }
  const text = off.size ? `Models (${boxes.length - off.size} of ${boxes.length})` : "Models";
  document.querySelector("#filter summary").textContent = text;
}

document.addEventListener("input", show); // of a box, or of a table's search
for (const button of document.querySelectorAll("#filter button"))
  button.onclick = () => {
    for (const box of boxes) box.checked = button.textContent === "all";
    show();
  };
document.querySelector("#filter").open = innerWidth > 700; // on a phone it would cover the screen
show();
