// The live page: shows the picture that came with it, then asks for a new one every second.
"use strict";
const live = document.getElementById("live");
const at = (id) => document.getElementById(id);
const number = (n) => Math.round(n).toLocaleString("en-US");
const seconds = (s) => `${s.toFixed(1)} s`;
const PERIOD_MS = 1000;

function cell(text, name) {
  const td = document.createElement("td");
  if (name) td.className = name;
  td.textContent = text;
  return td;
}

function tag(text, mood) {
  const td = document.createElement("td");
  const span = document.createElement("span");
  span.className = `tag ${mood}`;
  span.textContent = text;
  td.append(span);
  return td;
}

function fill(id, rows, empty, columns) {
  const trs = rows.map((cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  });
  if (trs.length === 0) {
    const tr = document.createElement("tr");
    const td = cell(empty, "small");
    td.colSpan = columns;
    tr.append(td);
    trs.push(tr);
  }
  at(id).replaceChildren(...trs);
}

const SVG = "http://www.w3.org/2000/svg";
function draw(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// A round number at least this large: 1, 2 or 5 times a power of ten.
function round_up(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= n);
}

function plot(picture) {
  const { rates, faults } = picture;
  const width = Math.max(320, Math.min(1100, at("rates").clientWidth || 900));
  const height = 220, left = 46, right = 12, top = 12, bottom = 26;
  const columns = Math.max(10, Math.min(300, Math.ceil(picture.time_limit_s)), rates.ok.length);
  const total = (i) => rates.ok[i] + rates.fail[i] + rates.info[i];
  const highest = round_up(Math.max(1, ...rates.ok.map((_, i) => total(i))));
  const x = (second) => left + ((second - rates.from_s) / columns) * (width - left - right);
  const y = (n) => height - bottom - (n / highest) * (height - top - bottom);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "completed operations a second" });
  const end = rates.from_s + columns;
  const inside = (second) => Math.min(end, Math.max(rates.from_s, second));
  for (const fault of faults) {
    const from = inside(fault.start_ns / 1e9);
    const to = inside(fault.stop_ns === null ? picture.elapsed_s : fault.stop_ns / 1e9);
    if ((fault.stop_ns !== null && !fault.installed) || to <= from) continue;
    const band = draw("rect", { x: x(from), y: top, width: x(to) - x(from), height: height - top - bottom, class: "band" });
    band.append(draw("title", {}, `#${fault.id} ${fault.kind}: ${fault.detail}`));
    svg.append(band);
  }
  for (const share of [0, 0.5, 1]) {
    const level = y(highest * share);
    svg.append(draw("line", { x1: left, x2: width - right, y1: level, y2: level, class: "grid" }));
    svg.append(draw("text", { x: left - 6, y: level + 4, "text-anchor": "end" }, number(highest * share)));
  }
  const step = round_up(columns / 8);
  for (let second = Math.ceil(rates.from_s / step) * step; second <= end; second += step) {
    svg.append(draw("text", { x: x(second), y: height - 8, "text-anchor": "middle" }, `${second} s`));
  }
  const wide = Math.max(1, (x(1) - x(0)) * 0.86);
  rates.ok.forEach((_, i) => {
    let below = 0;
    for (const end of ["ok", "fail", "info"]) {
      const n = rates[end][i];
      if (n === 0) continue;
      const above = below + n;
      svg.append(draw("rect", { x: x(rates.from_s + i), y: y(above), width: wide, height: y(below) - y(above), class: end }));
      below = above;
    }
  });
  at("rates").replaceChildren(svg);
}

function show(picture) {
  const { counts } = picture;
  at("state").textContent = picture.state.replace("-", " ");
  at("state").className = `tag ${picture.mood}`;
  at("what").textContent = `${picture.workload} on ${picture.target} (${picture.variant}).${is_over(picture) ? "" : ` ${picture.sentence}`}`;
  const phases = { raise: "raising", load: "load", settle: "settling", "final-reads": "final reads", end: "over" };
  at("phase").textContent = phases[picture.phase] || picture.phase;
  at("elapsed").textContent = `${seconds(picture.elapsed_s)} of ${picture.time_limit_s} s of load`;
  at("operations").textContent = number(counts.invoked);
  at("operations").dataset.count = counts.invoked;
  at("ends").textContent = `${number(counts.ok)} ok · ${number(counts.fail)} fail · ${number(counts.info)} info · ${number(counts.open)} open`;
  at("rate").textContent = `${number(picture.rate)} /s`;
  at("in-force").textContent = picture.in_force;
  at("struck").textContent = `${picture.faults.length} have struck so far`;
  plot(picture);
  const says = { agents: "its agent", clients: "clients: it acknowledged a write" };
  fill("roles", picture.roles.map((role) => [
    cell(role.shard), cell(role.master, "strong"), cell(role.epoch, "num"),
    cell(role.since_s < 0 ? "start" : seconds(role.since_s), "num"), cell(says[role.source], "small"),
  ]), "nobody has been seen yet", 5);
  at("zookeeper").textContent = picture.zookeeper_leader === null ? "" : `ZooKeeper's leader is ${picture.zookeeper_leader}.`;
  fill("faults", [...picture.faults].reverse().map((fault) => [
    // Some evidence is read when a fault ends: until then it gets the benefit of the doubt.
    fault.stop_ns === null ? tag("in force", "bad") : fault.installed ? tag("healed", "") : tag("no effect", "doubt"),
    cell(`${fault.kind}: ${fault.detail}`), cell(fault.nodes.join(", ")),
    cell(seconds(fault.start_ns / 1e9), "num"), cell(fault.stop_ns === null ? "" : seconds(fault.stop_ns / 1e9), "num"),
  ]), "none yet", 5);
  at("steps-section").hidden = picture.steps.length === 0;
  fill("steps", picture.steps.map((step) => [
    cell(step.time_ns < 0 ? "start" : seconds(step.time_ns / 1e9), "num"), cell(step.shard), cell(step.node), cell(step.step.replace("_", " ")),
    cell(step.epoch, "num"), cell(step.detail, "small"),
  ]), "none yet", 6);
  at("notes").replaceChildren(...picture.notes.map((words) => {
    const li = document.createElement("li");
    li.textContent = words;
    return li;
  }));
}

const is_over = (picture) => !["running", "judging"].includes(picture.state);

function finish(picture) {
  const link = document.createElement("a");
  link.href = live.dataset.run;
  link.textContent = "Open its page";
  at("ended").replaceChildren(`${picture.sentence} `, link);
  at("ended").className = `card ${picture.mood}-card`;
  at("ended").hidden = false;
}

async function poll() {
  let pause = PERIOD_MS;
  try {
    const answer = await fetch(live.dataset.api, { cache: "no-store" });
    if (!answer.ok) throw new Error(`the server says ${answer.status}`);
    const picture = await answer.json();
    show(picture);
    live.dataset.polls = Number(live.dataset.polls) + 1;
    if (picture.behind) pause = 0;
    else if (is_over(picture)) return finish(picture);
  } catch (error) {
    at("what").textContent = `No answer: ${error.message}. Trying again.`;
    pause = 3 * PERIOD_MS;
  }
  setTimeout(poll, pause);
}

const first = JSON.parse(at("snapshot").textContent);
show(first);
live.dataset.first = first.counts.invoked;
if (is_over(first) && !first.behind) finish(first);
else setTimeout(poll, first.behind ? 0 : PERIOD_MS);
