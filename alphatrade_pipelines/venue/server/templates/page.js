// Niceties only: without this script every button is a plain form and the page is refreshed by hand.
"use strict";
const live = document.getElementById("live");
const EVERY_MS = 1000;

async function refresh() {
  const answer = await fetch("/page/live", { cache: "no-store" });
  if (answer.ok) live.innerHTML = await answer.text();
  else if (answer.status === 401) location.reload();
}

async function press(form) {
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
  if (answer.type !== "opaqueredirect") location.reload();
  else await refresh();
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  press(event.target).catch(() => location.reload()).finally(() => { if (button) button.disabled = false; });
});

let busy = false;
setInterval(async () => {
  const inUse = live.contains(document.activeElement) && document.activeElement !== document.body;
  if (busy || document.hidden || inUse) return;
  busy = true;
  try { await refresh(); } catch { /* the venue has ended: keep showing its last state */ } finally { busy = false; }
}, EVERY_MS);
