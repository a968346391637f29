// What the page does once it is there: the switch between light and dark, and the timeline.

const themeSwitch = document.getElementById("theme");
let timeline = null;

function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}

function recolour() {
  themeSwitch.textContent = isDark() ? "Light" : "Dark";
  if (timeline) { timeline.painter.takeColours(); timeline.redraw(); }
}

themeSwitch.hidden = false;
themeSwitch.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  recolour();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
recolour();

let wereOpen = [];
addEventListener("beforeprint", () => {
  // But for the long tail: hundreds of pages help nobody.
  wereOpen = [...document.querySelectorAll("details:not([open]):not(.more):not(#failovers .scene)")];
  wereOpen.forEach(details => details.open = true);
});
addEventListener("afterprint", () => wereOpen.forEach(details => details.open = false));

/** Follows the address of the page; scrolls to the timeline where it leads there. */
function follow(flight) {
  if (timeline?.follow(location.hash, flight)) timeline.root.scrollIntoView({ block: "start" });
  else if (location.hash.startsWith("#anomaly-")) {
    const details = document.getElementById(location.hash.slice(1))?.closest("details");
    if (details) details.open = true;
  }
}

async function begin() {
  const root = document.getElementById("timeline"), data = document.getElementById("operations");
  if (!root || !data) { document.body.dataset.ready = "0"; return; }
  const ops = await unpack(data.textContent.trim());
  data.remove();
  root.hidden = false;
  timeline = new Timeline(root, ops);
  follow(false);
  addEventListener("hashchange", () => follow(true));
  document.addEventListener("click", event => {
    // A second click on the same link changes no address.
    const link = event.target.closest?.('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) follow(true);
  });
  timeline.paint();
  timeline.painter.pen.getImageData(0, 0, 1, 1);
  document.body.dataset.readyMs = Math.round(performance.now());
  timeline.tell();
  document.body.dataset.ready = ops.count;
  if (location.hash === "#measure") {
    const took = timeline.measure(200);
    document.body.dataset.frames = [.5, .99, 1].map(q => took[Math.ceil(q * took.length) - 1].toFixed(1)).join(",");
  }
}

begin().catch(error => {
  document.body.dataset.error = String(error?.stack ?? error);
  const told = document.getElementById("timeline-trouble");
  told.hidden = false;
  told.textContent = `The timeline cannot be shown in this browser: ${error.message ?? error}. The plots below need nothing of the kind.`;
});
