"use strict";
// Everything works without this: forms then need their buttons, and show fields that only some answers need.
for (const form of document.querySelectorAll("form[data-autosend]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.querySelector("button").hidden = true;
}
for (const form of document.querySelectorAll("#label, form.label")) {
  const show = () => {
    for (const verdict of ["call", "calls", "other"]) {
      const fields = form.querySelector(`.when-${verdict}`);
      if (fields) fields.hidden = form.elements.verdict.value !== verdict;
    }
  };
  form.addEventListener("change", show);
  show();
}
