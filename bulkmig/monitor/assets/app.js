"use strict";
// The page of a run: live over server-sent events, or from the data in its own file. Texts come from databases:
// they enter the page as text, never as markup.

const STATES = ["running", "migrated", "quarantined", "failed", "skipped", "waiting"];
const PHASES = ["extract", "load", "commit", "verify"];
const byId = (id) => document.getElementById(id);
const vessels = new Map(); // id -> {data, cell}
let state = null;          // everything that is shown
let chosen = null;         // the vessel whose details are shown
let past = "";             // the run of the history that is shown; "": the latest

// --- formats -------------------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en");
const number = (value) => (value === null || value === undefined ? "–" : whole.format(Math.round(value)));
const megabytes = (value) => (value === null || value === undefined ? "–" : `${number(value / 1048576)} MB`);
const moment = (text) => (text ? new Date(text).toLocaleString() : "–");
const short = (id) => (id || "").slice(0, 8);

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

// --- what is shown -------------------------------------------------------------------------------------------

function show() {
  const run = state.run;
  byId("error").hidden = !(state.error || (run && run.error));
  byId("error").textContent = state.error || (run && run.error) || "";
  byId("title").textContent = run
    ? `${run.command} ${short(run.id)}, ${run.status}${run.phase && run.status === "running" ? `: ${run.phase}` : ""}`
    : "No run yet";
  document.title = run ? `${run.command} ${run.status} – bulkmig` : "bulkmig";
  showFigures(run || {});
  showLegend();
  showActive();
  showVessel();
  requestAnimationFrame(() => showPlots(state.run || {})); // after the layout that it measures
  showTables(run || {});
  showRuns();
}

function showFigures(run) {
  const behind = (run.done || 0) + (run.skipped || 0) + (run.failed || 0);
  const share = run.share ?? (run.selected ? behind / run.selected : run.finished_at ? 1 : 0);
  byId("share").value = share;
  byId("percent").textContent = run.id ? `${Math.floor(share * 100)}%` : "";
  const figures = [
    ["Done", number(run.done)], ["Failed", number(run.failed)], ["Skipped", number(run.skipped)],
    ["Selected", number(run.selected)], ["Target rows", number(run.rows)],
    ["Rows a second", number(run.rate || (run.seconds ? run.rows / run.seconds : null))],
    [run.finished_at ? "Took" : "So far", span(run.seconds)],
    ...(run.finished_at ? [] : [["Still about", span(run.left)]]),
    ["A vessel took", run.average_seconds ? span(run.average_seconds) : "–"],
    ["In flight", megabytes(run.peak_in_flight ?? run.in_flight)],
    run.checks === undefined ? ["Verified", number(run.verified)] : ["Checks", number(run.checks)],
    ["Differences", number(run.differences)],
    ["Warnings", number(run.warnings)],
    ...(run.retries === undefined ? [] : [["Retries", number(run.retries)]]),
  ];
  const list = byId("figures");
  if (list.children.length !== figures.length) {
    list.replaceChildren(...figures.map(([name]) => {
      const pair = make("div");
      pair.append(make("dt", name), make("dd"));
      pair.dataset.figure = name;
      return pair;
    }));
  }
  figures.forEach(([name, text], index) => {
    const [term, value] = list.children[index].children;
    list.children[index].dataset.figure = name.toLowerCase();
    if (term.textContent !== name) term.textContent = name;
    if (value.textContent !== text) value.textContent = text;
  });
}

function showLegend() {
  const counts = {};
  for (const { data } of vessels.values()) counts[data.state] = (counts[data.state] || 0) + 1;
  const over = Boolean(state.run && state.run.finished_at); // then no state has anything to come
  const present = [...STATES, ...Object.keys(counts).filter((name) => !STATES.includes(name))]
    .filter((name) => counts[name] || !over);
  const key = JSON.stringify([counts, over]);
  const legend = byId("legend");
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  legend.replaceChildren(...present.map((name) => {
    const item = make("li");
    const sample = make("span", undefined, `cell ${name}`);
    sample.setAttribute("aria-hidden", "true");
    item.dataset.state = name;
    item.append(sample, make("span", `${number(counts[name] || 0)} ${name}`));
    return item;
  }));
}

const blank = make("span");
blank.setAttribute("role", "option");
blank.setAttribute("aria-selected", "false");
blank.tabIndex = -1;

function takeVessels(list, { anew }) {
  const fleet = byId("fleet");
  if (anew) {
    vessels.clear();
    chosen = null;
    fleet.replaceChildren();
  }
  const added = document.createDocumentFragment();
  for (const data of list) {
    let entry = vessels.get(data.id);
    if (!entry) {
      entry = { data, cell: blank.cloneNode() };
      entry.cell.dataset.vessel = data.id;
      vessels.set(data.id, entry);
      added.append(entry.cell);
    }
    entry.data = data;
    entry.cell.className = `cell ${data.state}${data.active ? " active" : ""}`;
    entry.cell.setAttribute("aria-label", `${data.name || data.id}, ${data.state}`);
  }
  fleet.append(added);
  fleet.tabIndex = chosen ? -1 : 0;
}

function showVessel() {
  const entry = vessels.get(chosen);
  if (!entry) {
    byId("vessel").textContent = "Choose a vessel to see what became of it.";
    return;
  }
  const { data } = entry;
  const spent = Object.entries(data.spent || {}).map(([phase, seconds]) => `${phase} ${span(seconds)}`);
  const text = [
    data.name || data.id, data.imo_number ? `IMO ${data.imo_number}` : "", data.state,
    data.phase ? `phase ${data.phase}` : "", data.rows ? `${number(data.rows)} rows` : "",
    data.seconds ? span(data.seconds) : "", spent.join(", "),
    data.differences ? `${number(data.differences)} differences` : "", data.error || "",
  ].filter(Boolean).join(" · ");
  if (byId("vessel").textContent !== text) byId("vessel").textContent = text;
}

function choose(cell) {
  const before = vessels.get(chosen);
  if (before) {
    before.cell.setAttribute("aria-selected", "false");
    before.cell.tabIndex = -1;
  }
  chosen = cell.dataset.vessel;
  cell.setAttribute("aria-selected", "true");
  cell.tabIndex = 0;
  byId("fleet").tabIndex = -1;
  cell.focus();
  showVessel();
}

function moveInFleet(event) {
  const cells = byId("fleet").children;
  if (!cells.length) return;
  const at = chosen ? [...cells].findIndex((cell) => cell.dataset.vessel === chosen) : -1;
  let columns = 1;
  while (columns < cells.length && cells[columns].offsetTop === cells[0].offsetTop) columns += 1;
  const to = {
    ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at < 0 ? 0 : at + columns, ArrowUp: at - columns,
    Home: 0, End: cells.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(cells[Math.min(Math.max(to, 0), cells.length - 1)]);
}

function showActive() {
  const now = Date.now() / 1000;
  const active = [...vessels.values()].map(({ data }) => data).filter((data) => data.active)
    .sort((a, b) => a.since - b.since).slice(0, 30);
  fill(byId("active"), ["Vessel", "Phase", "Seconds in it", ...PHASES.map((phase) => `${phase}, s`)], active.map((data) => [
    data.name || data.id, data.phase, Math.max(now - data.since, 0).toFixed(1),
    ...PHASES.map((phase) => (data.spent[phase] === undefined ? "" : data.spent[phase].toFixed(1))),
  ]), [2, 3, 4, 5, 6]);
}

// --- tables --------------------------------------------------------------------------------------------------

function fill(table, columns, rows, numbers = []) {
  const key = JSON.stringify(rows);
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  const head = make("thead");
  const titles = make("tr");
  columns.forEach((title, index) => {
    const cell = make("th", title, numbers.includes(index) ? "number" : "");
    cell.scope = "col";
    titles.append(cell);
  });
  head.append(titles);
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr");
    row.forEach((text, index) => line.append(make("td", text ?? "", numbers.includes(index) ? "number" : "")));
    body.append(line);
  }
  table.replaceChildren(head, body);
}

function block(id, title, columns, rows, numbers) {
  let box = byId(`t-${id}`);
  if (!box) {
    box = make("details");
    box.id = `t-${id}`;
    box.open = rows.length > 0;
    const region = make("div", undefined, "wide");
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", title);
    region.append(make("table"));
    box.append(make("summary"), make("p", "Nothing.", "none"), region);
    byId("tables").append(box);
  }
  const [summary, none, region] = box.children;
  const text = `${title} (${number(rows.length)})`;
  if (summary.textContent !== text) summary.textContent = text;
  if (rows.length && !none.hidden) box.open = true;
  none.hidden = rows.length > 0;
  region.hidden = !rows.length;
  fill(region.firstChild, columns, rows, numbers);
}

function showTables(run) {
  const ledger = state.ledger || {};
  const list = (name) => ledger[name] || [];
  block("failures", "Errors and retries", ["When", "Kind", "What", "Cause"],
    state.failures.map((f) => [f.at ? new Date(f.at * 1000).toLocaleTimeString() : "", f.kind, f.what, f.cause]));
  if (state.differences) {
    block("differences", "Differences", ["Table", "Row", "Field"],
      state.differences.map((d) => [d.table, d.id, d.field || "(row)"]));
  }
  block("findings", "Findings", ["Severity", "Code", "Entity", "Rows", "Vessels"],
    state.findings.map((f) => [f.severity, f.code, f.entity, number(f.rows), number(f.vessels)]), [3, 4]);
  if (run.lossiness) {
    block("lossiness", "Lossiness ledger", ["Rule", "Rows"],
      Object.entries(run.lossiness).sort((a, b) => b[1] - a[1]).map(([rule, rows]) => [rule, number(rows)]), [1]);
  }
  if (run.phases) {
    block("phases", "Busy seconds of all workers", ["Phase", "Seconds"],
      Object.entries(run.phases).map(([phase, seconds]) => [phase, seconds.toFixed(2)]), [1]);
  }
  const slow = [...vessels.values()].map(({ data }) => data).filter((data) => data.seconds)
    .sort((a, b) => b.seconds - a.seconds).slice(0, 10);
  block("slowest", "Slowest vessels", ["Vessel", "Seconds", "Rows"],
    slow.map((data) => [data.name, data.seconds.toFixed(2), number(data.rows)]), [1, 2]);
  block("quarantine", "Quarantine", ["Code", "Entity", "Rows", "Vessels", "Since"],
    list("quarantine").map((q) => [q.code, q.entity, number(q.rows), number(q.vessels), moment(q.since)]), [2, 3]);
  block("conflicts", "Conflicts", ["Conflict", "Vessel", "Entity", "Kind", "Status", "Strategy", "Detected"],
    list("conflicts").map((c) => [short(c.id), c.vessel, c.entity, c.kind, c.status, c.strategy, moment(c.detected_at)]));
  block("checkpoints", "Checkpoints", ["Checkpoint", "Of", "Run", "Made", "Rows", "Bytes", "Encrypted"],
    list("checkpoints").map((c) => [short(c.id), c.vessel, short(c.run_id), moment(c.created_at), number(c.rows),
      number(c.bytes), c.encrypted ? "yes" : "no"]), [4, 5]);
  block("audit", "Audit log", ["When", "Action", "Vessel", "Operator", "Host", "Run", "Summary"],
    list("audit").map((a) => [moment(a.at), a.action, a.vessel, a.operator, a.host, short(a.run_id), a.summary]));
  if (!document.body.classList.contains("archived")) {
    block("history", "Runs", ["Run", "Command", "Status", "Started", "Took", "Done", "Failed", "Rows", "Operator"],
      list("runs").map((r) => [short(r.id), r.command, r.status, moment(r.started_at), span(r.seconds), number(r.done),
        number(r.failed), number(r.rows), r.operator]), [5, 6, 7]);
  }
}

function showRuns() {
  const select = byId("runs");
  const runs = (state.ledger && state.ledger.runs) || [];
  const key = JSON.stringify(runs.map((run) => [run.id, run.status]));
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const latest = make("option", "the latest");
  latest.value = "";
  select.replaceChildren(latest, ...runs.map((run) => {
    const option = make("option", `${short(run.id)} ${run.command}, ${run.status}, ${moment(run.started_at)}`);
    option.value = run.id;
    return option;
  }));
  select.value = past;
}

// --- plots ---------------------------------------------------------------------------------------------------

const plots = {};
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function plot(id, series, data) {
  const box = byId(id);
  const size = { width: Math.max(box.clientWidth, 240), height: 190 };
  if (plots[id]) {
    if (plots[id].width !== size.width) plots[id].setSize(size);
    plots[id].setData(data);
    return;
  }
  const axis = { stroke: () => color("dim"), grid: { stroke: () => color("line"), width: 1 }, ticks: { show: false } };
  plots[id] = new uPlot({
    ...size,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.05] } },
    axes: [
      { ...axis, size: 28, values: (_, ticks) => ticks.map((tick) => span(tick)) },
      { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => number(tick)) },
    ],
    series: [{}, ...series.map(([label, name, dash]) => ({
      label, stroke: () => color(name), width: 2, dash, points: { show: false }, spanGaps: true,
    }))],
  }, data, box);
}

function rates(timeline) {
  const end = timeline.length ? timeline[timeline.length - 1][0] : 0;
  const over = Math.max(end / 40, 3);
  let from = 0;
  return timeline.map(([seconds, rows], index) => {
    while (from < index && timeline[from][0] < seconds - over) from += 1;
    const [since, before] = from > 0 ? timeline[from - 1] : [0, 0];
    return seconds > since ? Math.max(rows - before, 0) / (seconds - since) : 0;
  });
}

function showPlots(run) {
  const timeline = state.timeline;
  const seconds = timeline.map((point) => point[0]);
  const rate = rates(timeline);
  const inMegabytes = (index) => timeline.map((point) => (point[index] === null ? null : point[index] / 1048576));
  plot("rate", [["rows a second", "running"]], [seconds, rate]);
  plot("memory", [["in flight", "running"], ["bound", "bound", [6, 4]], ["resident", "resident"]], [
    seconds, inMegabytes(2), seconds.map(() => (run.bound ? run.bound / 1048576 : null)), inMegabytes(3),
  ]);
  const last = timeline.length ? timeline[timeline.length - 1] : [0, 0, 0, 0];
  byId("c-rate").textContent = `Target rows a second: ${number(Math.max(0, ...rate))} at most, ${number(last[1])} rows in all`;
  byId("c-memory").textContent =
    `Memory: ${megabytes(last[2])} in flight (blue), at most ${megabytes(run.bound)} (dashed); ${megabytes(last[3])} resident (violet)`;
}

function redraw() {
  for (const id of Object.keys(plots)) {
    plots[id].destroy();
    delete plots[id];
  }
  if (state) showPlots(state.run || {});
}

// --- where it comes from -------------------------------------------------------------------------------------

function take(kind, value) {
  const began = performance.now();
  const { vessels: list, ...rest } = value;
  state = kind === "state" ? { failures: [], findings: [], timeline: [], ...rest } : { ...state, ...rest };
  takeVessels(list, { anew: kind === "state" });
  show();
  document.body.dataset.script = (performance.now() - began).toFixed(1); // milliseconds of this update
}

function follow() {
  const stream = new EventSource("events");
  const say = (text) => { byId("connection").textContent = text; };
  const hear = (kind) => (event) => {
    const value = JSON.parse(event.data);
    say(value.live === false ? "from the ledger" : value.live ? "live" : byId("connection").textContent);
    if (!past) take(kind, value);
    else if (value.ledger && state) {
      state.ledger = value.ledger;
      showRuns();
    }
  };
  stream.addEventListener("state", hear("state"));
  stream.addEventListener("change", hear("change"));
  stream.addEventListener("open", () => say("connected"));
  stream.addEventListener("error", () => say("connection lost, trying again"));
  return stream;
}

function start() {
  byId("fleet").addEventListener("click", (event) => {
    const cell = event.target.closest("[data-vessel]");
    if (cell) choose(cell);
  });
  byId("fleet").addEventListener("keydown", moveInFleet);
  byId("fleet").addEventListener("pointerover", (event) => {
    event.target.title = event.target.getAttribute("aria-label") || "";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", () => state && showPlots(state.run || {}));
  const embedded = byId("data");
  if (embedded) {
    document.body.classList.add("archived");
    take("state", JSON.parse(embedded.textContent));
    return;
  }
  let stream = follow();
  byId("runs").addEventListener("change", async (event) => {
    past = event.target.value;
    if (!past) {
      stream.close();
      stream = follow();
      return;
    }
    const answer = await fetch(`api/runs/${encodeURIComponent(past)}`);
    if (answer.ok) take("state", { ...(await answer.json()), ledger: state.ledger });
  });
}

start();
