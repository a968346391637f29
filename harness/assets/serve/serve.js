// The index: a choice takes effect at once, and runs can be compared once two are ticked.
"use strict";
const filter = document.getElementById("filter");
filter.addEventListener("change", (event) => {
  if (event.target.matches("select")) filter.requestSubmit();
});
// Empty filters would only make the address long.
filter.addEventListener("submit", () => {
  for (const field of filter.elements) if (field.name && field.value === "") field.disabled = true;
});
window.addEventListener("pageshow", () => {
  for (const field of filter.elements) field.disabled = false;
});
const compare = document.getElementById("compare");
const button = document.getElementById("compare-button");
const count = () => {
  const ticked = compare.querySelectorAll("input[name=run]:checked").length;
  button.disabled = ticked < 2;
  button.textContent = ticked < 2 ? "Tick two runs to compare" : `Compare ${ticked} runs`;
};
compare.addEventListener("change", count);
window.addEventListener("pageshow", count);
count();
