"use strict";
// Everything works without this: forms then need their buttons, and show fields that only some answers need.
for (const form of document.querySelectorAll("form[data-autosend]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.querySelector("button").hidden = true;
}
const label = document.getElementById("label");
if (label) {
  const show = () => { label.querySelector(".when-calls").hidden = label.elements.verdict.value !== "calls"; };
  label.addEventListener("change", show);
  show();
}
