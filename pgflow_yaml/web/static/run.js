"use strict";
// The page of a run: the graph gets marks in place of a new picture, a click shows a step without a
// new page, and a filter dims the steps that are not meant. All links work without this file.
const graph = () => document.getElementById("graph")?.querySelector(".pg-graph");

function markGraph() {
  const data = document.querySelector("[data-marks]"), picture = graph();
  if (!data || !picture) return;
  if (picture.parentElement.dataset.version !== data.dataset.version) return location.reload();
  const marks = JSON.parse(data.dataset.marks);
  for (const box of picture.querySelectorAll(".pg-box")) {
    const slug = box.dataset.step, mark = marks[slug];
    if (mark) {
      const dim = box.classList.contains("pg-dim") ? " pg-dim" : "";
      box.setAttribute("class", `pg-box pg-${mark[0]}${dim}`);
      box.querySelector(".pg-second").textContent = mark[1];
      box.querySelector(".pg-bar").setAttribute("stroke-dasharray", `${mark[2]} 100`);
      box.setAttribute("aria-label", mark[3]);
    }
  }
  select(data.dataset.selected);
}

function select(slug) {
  for (const each of document.querySelectorAll("a[data-step]")) {
    if (each.dataset.step === slug) each.setAttribute("aria-current", "true");
    else each.removeAttribute("aria-current");
  }
}

// Shows the step that the address names: at once its own part, the others when they change.
async function follow() {
  for (const part of document.querySelectorAll("[data-part]")) {
    const [path] = part.dataset.part.split("?");
    part.dataset.part = path + location.search;
  }
  for (const each of document.querySelectorAll("#step details[open]")) each.open = false;
  select(new URLSearchParams(location.search).get("step"));
  const status = await renew(document.getElementById("step")).catch(() => 0);
  if (!status || status >= 400) location.reload();
}

function centre() {
  const box = document.getElementById("graph-centre"), place = box?.closest(".pg-scroll");
  if (!place) return;
  const here = place.getBoundingClientRect(), there = box.getBoundingClientRect();
  place.scrollLeft += there.left + there.width / 2 - here.left - here.width / 2;
  place.scrollTop += there.top + there.height / 2 - here.top - here.height / 2;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-step]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const query = new URLSearchParams(location.search);
  query.set("step", link.dataset.step);
  history.pushState(null, "", `?${query}`);
  follow();
});
addEventListener("popstate", follow);
document.addEventListener("part", (event) => { if (event.detail === "marks") markGraph(); });

const find = document.getElementById("find");
if (find) {
  find.parentElement.hidden = false;
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase();
    for (const box of graph().querySelectorAll(".pg-box")) box.classList.toggle("pg-dim", !box.textContent.toLowerCase().includes(words));
    graph().querySelector(".pg-box:not(.pg-dim)")?.scrollIntoView({ block: "nearest", inline: "center" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    find.focus();
  });
}
centre();
