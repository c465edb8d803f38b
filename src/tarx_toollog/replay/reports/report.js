"use strict";
const steps = [...document.querySelectorAll("details[data-state]")];
const chosen = name => document.getElementById(name).value;
function show() {
  const state = chosen("state"), code = chosen("code"), text = chosen("text").toLowerCase();
  let shown = 0;
  for (const step of steps) {
    const fits = (state === "all" || step.dataset.state === state) && (code === "any" || step.dataset.code === code)
      && (!text || step.textContent.toLowerCase().includes(text));
    step.hidden = !fits;
    shown += fits;
  }
  document.getElementById("count").textContent = `${shown} of ${steps.length}`;
}
for (const name of ["state", "code", "text"]) document.getElementById(name).addEventListener("input", show);
function go() { const step = document.getElementById(location.hash.slice(1)); if (step) { step.hidden = false; step.open = true; step.scrollIntoView(); } }
addEventListener("hashchange", go);
show();
go();
