"use strict";
// The keys of the queue. Each does what a button or a link of the page does.
const articles = [...document.querySelectorAll("article.proposal")];
const named = articles.findIndex((article) => `#${article.id}` === location.hash);
let place = Math.max(named, 0);
const show = (next) => {
  place = Math.min(Math.max(next, 0), articles.length - 1);
  articles[place].focus();
  articles[place].scrollIntoView({ block: "start" });
};
const press = (selector) => articles[place].querySelector(selector).click();
const keys = {
  j: () => show(place + 1),
  k: () => show(place - 1),
  g: () => press("button[value=good]"),
  b: () => press("button[value=bad]"),
  s: () => press("button[value=skip]"),
  c: () => press("a.correct"),
  "?": () => { const help = document.getElementById("keys"); help.open = !help.open; },
};
if (articles.length) {
  articles.forEach((article, number) => article.addEventListener("focusin", () => { place = number; }));
  articles[place].focus({ preventScroll: named < 0 });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}
