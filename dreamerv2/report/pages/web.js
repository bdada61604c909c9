// Sorts a table by the column whose head is clicked: by number where it has numbers, by
// name elsewhere, and the other way round by the next click. What is no number is last.
for (const button of document.querySelectorAll("th > button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    const first = head.dataset.first;
    const second = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const text = (row) => row.cells[column].textContent;
    const number = (row) => parseFloat(row.cells[column].dataset.number);
    const byName = (a, b) =>
      sign * text(a).localeCompare(text(b), "en", { numeric: true });
    const byNumber = (a, b) =>
      isNaN(number(a)) - isNaN(number(b)) || sign * (number(a) - number(b));
    for (const each of head.parentElement.cells) {
      each.setAttribute("aria-sort", each === head ? order : "none");
    }
    const [body] = head.closest("table").tBodies;
    const compare = head.classList.contains("number") ? byNumber : byName;
    body.append(...[...body.rows].sort(compare));
  });
}
