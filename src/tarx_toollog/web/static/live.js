"use strict";
// Rows have the key of their exchange: new ones come on top, those of exchanges that have ended meanwhile are replaced.
const table = document.getElementById("live");
const body = table.tBodies[0];
const said = document.getElementById("live-state");
const pause = document.getElementById("live-pause");
let tag = "";
let fresh = 0;
let paused = false;

function say(text) {
  if (said.textContent !== text) said.textContent = text;
}

function merge(rows) {
  const shown = new Map(Array.from(body.rows, (row) => [row.dataset.key, row]));
  for (const row of rows) {
    const before = shown.get(row.dataset.key);
    if (before) {
      if (before.innerHTML !== row.innerHTML) before.replaceWith(row);
    } else {
      row.classList.add("new");
      const older = Array.from(body.rows).find((one) => Number(one.dataset.key) < Number(row.dataset.key));
      body.insertBefore(row, older ?? null);
      fresh += 1;
    }
  }
  while (body.rows.length > Number(table.dataset.most)) body.deleteRow(-1);
  document.getElementById("live-empty")?.remove();
}

async function ask() {
  try {
    const answer = await fetch(table.dataset.rows, { cache: "no-store", headers: tag ? { "if-none-match": tag } : {} });
    if (answer.status === 200) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      tag = answer.headers.get("etag") ?? "";
      const rows = Array.from(page.querySelectorAll("tr"), (row) => document.importNode(row, true));
      if (rows.length) merge(rows);
    } else if (answer.status !== 304) {
      throw new Error(String(answer.status));
    }
    say(fresh ? `Following. ${fresh} new since you opened the page.` : "Following. Nothing new yet.");
  } catch {
    say("The server does not answer. Trying again.");
  }
}

async function follow() {
  if (!paused && !document.hidden) await ask();
  setTimeout(follow, 1000);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "go on" : "pause";
  if (paused) say("Paused.");
});
follow();
