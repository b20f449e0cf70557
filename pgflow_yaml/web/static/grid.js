"use strict";
// A click on a cell of a grid of items shows that item; the table below does the same with links.
document.addEventListener("click", (event) => {
  const grid = event.target.closest(".pg-grid"), place = grid?.closest("[data-cells]");
  if (!place) return;
  const box = grid.getBoundingClientRect(), columns = Number(grid.dataset.columns);
  const column = Math.floor((event.clientX - box.left) / box.width * columns);
  const row = Math.floor((event.clientY - box.top) / box.height * grid.viewBox.baseVal.height);
  const at = row * columns + column;
  if (at < place.dataset.count) location = place.dataset.cells + (Number(place.dataset.begin) + at);
});
