"use strict";
// A page is complete without this file. It posts the token of a login link, follows the stream of
// the server and puts changed parts in place by their ids, and lets durations tick.
const banner = document.getElementById("live"), root = document.body.dataset.root;
let source = null, watching = "", fetching = false, again = false, heard = 0, lost = "", wait = 1000, left = false;

const login = document.getElementById("login");
if (login && location.hash.startsWith("#t=")) {
  login.elements.token.value = location.hash.slice(3);
  history.replaceState(null, "", location.pathname + location.search);
  login.submit();
}

function say(state, text) {
  document.body.dataset.state = state;
  if (banner.textContent !== text) banner.textContent = text;
}
const now = () => new Date().toISOString().slice(11, 16) + " UTC";

// An element in use is not taken away: a form with the focus, a selection, an open error.
function inUse(element) {
  const form = document.activeElement?.closest("form"), chosen = getSelection();
  return (form && element.contains(form)) || (!chosen.isCollapsed && element.contains(chosen.anchorNode))
    || element.querySelector("details[open]") !== null;
}

function show(old, next) {
  const open = [...old.querySelectorAll("details[open]")].map((each) => each.id);
  const places = [...old.querySelectorAll(".scroll, pre")].map((each) => [each.scrollLeft, each.scrollTop]);
  const inside = old.contains(document.activeElement);
  old.replaceWith(next);
  for (const id of open) if (id) document.getElementById(id)?.setAttribute("open", "");
  next.querySelectorAll(".scroll, pre").forEach((each, at) => {
    if (places[at]) [each.scrollLeft, each.scrollTop] = places[at];
  });
  if (inside) next.querySelector("[tabindex], a, button")?.focus({ preventScroll: true });
  const title = next.querySelector("[data-title]");
  if (title) document.title = title.dataset.title + " · pgflow-yaml";
  document.dispatchEvent(new CustomEvent("part", { detail: next.id }));
}

function put(old, next) {
  old.querySelector(":scope > .changed")?.remove();
  if (!inUse(old)) return show(old, next);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "changed";
  button.textContent = "changed · show";
  button.onclick = () => show(old, next);
  old.prepend(button);
}

// An answer to an address that the part no longer has is dropped.
async function renew({ id, dataset: { part: address, etag } }) {
  const reply = await fetch(address, { headers: { "If-None-Match": `"${etag}"` }, redirect: "error" });
  const html = reply.ok && await reply.text(), part = document.getElementById(id);
  if (html && part?.dataset.part === address) put(part, new DOMParser().parseFromString(html, "text/html").getElementById(id));
  return reply.status;
}

// At a ping, only parts whose words tell times are asked for: `data-ages`.
async function refresh(ages) {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    do {
      let unread = "";
      again = false;
      for (const { id } of [...document.querySelectorAll("[data-part]")]) {
        const part = document.getElementById(id);
        if (!part?.dataset.live || (ages && !part.querySelector("[data-ages]"))) continue;
        const status = await renew(part);
        if (!source) return;  // hidden meanwhile
        if (status === 401) return leave("logged out: reload this page");
        if (status === 404) return leave("this is no longer in the database");
        if (status >= 500) unread = status === 503 ? "database unreachable" : "a part cannot be read";
      }
      ages = false;
      settle(unread);
    } while (again);
  } catch { gone("not connected"); } finally { fetching = false; }
}

// Parts that could all be read are live if the stream is open; without a stream they are of now.
function settle(unread) {
  if (unread) return gone(unread);
  if (source.readyState !== EventSource.OPEN) return say("old", `not live: as of ${now()}`);
  lost = "";
  say("live", "live");
  if (watches() !== watching) open();
}

function gone(words, since) {
  if (!source) return;
  lost = lost || since || now();
  say("lost", `${words} since ${lost}`);
}
function close() { source?.close(); source = null; }
function leave(words) { left = true; close(); say("lost", words); }

// What the parts depend on; each names one thing or several.
const watches = () => [...new Set([...document.querySelectorAll("[data-live]")].flatMap((each) => each.dataset.live.split(",")))]
  .filter(Boolean).slice(0, 20).join(",");

// The first event of a stream comes at once: until then nothing says that the page is live.
function open() {
  close();
  watching = watches();
  if (!watching) return say("", "");
  const mine = source = new EventSource(`${root}/events?watch=${watching}`);
  const on = (name, hear) => mine.addEventListener(name, (event) => { heard = Date.now(); wait = 1000; hear(event); });
  heard = Date.now();
  on("changed", () => refresh());
  on("ping", () => refresh(!lost));
  on("lost", (event) => gone("database unreachable", event.data.slice(11, 16) + " UTC"));
  on("out", () => leave("logged out: reload this page"));
  mine.onerror = () => {
    mine.close();
    gone("not connected");
    refresh();  // says why, if the session has ended
    setTimeout(() => { if (source === mine) open(); }, wait);
    wait = Math.min(wait * 2, 15000);
  };
}

function attend() {
  if (left) return;
  if (!document.hidden) return open();
  close();
  if (watches()) say("old", "paused (hidden)");
}

function duration(seconds) {
  if (seconds < 59.95) return seconds.toFixed(1) + " s";
  const whole = Math.round(seconds), two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// The zone of this browser can be chosen; the server then writes all times in it.
const zone = document.querySelector("[data-zone]"), local = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && local && local !== "UTC") {
  zone.value = zone.textContent = local;
  zone.closest("form").hidden = false;
}

// A second click sends nothing; the server, too, knows a form that it has just got.
document.addEventListener("submit", (event) => {
  const { method, dataset } = event.target;
  if (method !== "post") return;
  if (Date.now() - (dataset.sent || 0) < 5000) event.preventDefault();
  else dataset.sent = Date.now();
});

if (banner) {
  document.addEventListener("visibilitychange", attend);
  setInterval(() => {
    if (source && !lost && Date.now() - heard > 30000) say("old", "no news for 30 s");
    if (!lost) for (const each of document.querySelectorAll("[data-since]")) each.textContent = duration((Date.now() - Date.parse(each.dataset.since)) / 1000);
  }, 1000);
  attend();
}
