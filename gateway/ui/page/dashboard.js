// The dashboard: what a gateway does now and did in the last hour. Two things can be done: eject or readmit a target, reload.

import { headersOf } from "./api.js";
import { follow } from "./events.js";
import { dollars, number } from "./text.js";
import htm from "./htm/htm.module.js";
import { h, render } from "./preact/preact.module.js";
import { effect, signal } from "./signals/signals-core.module.js";
import uPlot from "./uplot/uPlot.esm.js";

const html = htm.bind(h);
const AGAIN_SECONDS = 3;

const board = signal(null);
const failure = signal(null);
const key = signal("");
const notice = signal("");
const plots = new Map();
let following = new AbortController();

async function watch() {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  while (!signal.aborted) {
    try {
      await follow("v1/admin/events", key.value, signal, (next) => {
        failure.value = null;
        board.value = next;
      });
    } catch (refusal) {
      if (signal.aborted) return;
      failure.value = refusal;
      if ([401, 403, 404].includes(refusal.status)) return;
    }
    await new Promise((done) => setTimeout(done, AGAIN_SECONDS * 1000));
  }
}

async function act(path, body) {
  try {
    const headers = { "content-type": "application/json", ...headersOf(key.value) };
    const reply = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
    const said = await reply.json();
    notice.value = said.done ?? said.message;
  } catch {
    notice.value = "The gateway did not answer.";
  }
}

function App() {
  const now = board.value;
  return html`
    <header>
      <h1><img src="ui/icon.svg" alt="" width="28" height="28" /> Rerank gateway</h1>
      <nav aria-label="Elsewhere"><a href="./">Playground</a> <a href="docs">API</a></nav>
    </header>
    <main class="board">
      <p class="notice" role="status">${notice.value}</p>
      ${failure.value ? html`<${Refusal} />` : null}
      ${now ? html`<${Board} now=${now} />` : failure.value ? null : html`<p class="hint">Waiting for the gateway …</p>`}
    </main>
  `;
}

function Refusal() {
  const { status, message } = failure.value;
  return html`
    <form class="key" onSubmit=${(event) => { event.preventDefault(); watch(); }}>
      <p role="alert">${message}</p>
      ${[401, 403].includes(status) ? html`
        <label for="key">An admin key</label>
        <input id="key" type="password" autocomplete="off" value=${key.value} onInput=${(event) => (key.value = event.target.value)} />
        <button class="primary" type="submit">Show</button>
        <p class="hint">It stays in the memory of this page.</p>` : null}
    </form>
  `;
}

function Board({ now }) {
  return html`
    <${Figures} now=${now} />
    <section aria-label="The last hour"><h2>The last hour</h2><div class="plots"><div id="plot-requests"></div><div id="plot-latency"></div></div></section>
    <${Targets} now=${now} />
    <${Routes} now=${now} />
    <${Callers} now=${now} />
    <${Local} now=${now} />
    <${Candidates} now=${now} />
    <${Incidents} now=${now} />
  `;
}

function Figures({ now }) {
  const { snapshot, samples } = now;
  const requests = samples.reduce((sum, sample) => sum + sample.requests, 0);
  const failed = samples.reduce((sum, sample) => sum + sample.failed, 0);
  const cost = samples.reduce((sum, sample) => sum + sample.cost, 0);
  const figures = [
    ["In flight", snapshot.in_flight],
    ["Requests, last hour", requests],
    ["Failed", requests ? `${((failed / requests) * 100).toFixed(1)} %` : "–"],
    ["Own time, p99", snapshot.overhead_ms.p99 === undefined ? "–" : `${number(snapshot.overhead_ms.p99, 1)} ms`],
    ["Cost, last hour", dollars(cost)],
  ];
  return html`
    <dl class="figures">${figures.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <div class="row"><button type="button" class="quiet" id="reload" onClick=${() => act("v1/admin/reload")}>Reload the configuration</button></div>
  `;
}

function Table({ title, head, rows, empty, id }) {
  return html`
    <section aria-labelledby=${id}>
      <h2 id=${id}>${title}</h2>
      ${rows.length ? html`
        <div class="scroll" tabindex="0" role="group" aria-labelledby=${id}>
          <table><thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead><tbody>${rows}</tbody></table>
        </div>` : html`<p class="hint">${empty}</p>`}
    </section>
  `;
}

function Targets({ now }) {
  const { snapshot, loads } = now;
  const seen = new Map(snapshot.targets.map((target) => [`${target.provider}/${target.model}`, target]));
  for (const path of Object.keys(loads)) if (!seen.has(path)) seen.set(path, { attempts: 0, errors: 0 });
  const resting = new Map();
  for (const one of snapshot.keys) if (one.state !== "ok") resting.set(one.provider, (resting.get(one.provider) ?? 0) + 1);
  const rows = [...seen].sort().map(([path, target]) => html`<${Target} key=${path} path=${path} target=${target} load=${loads[path]} resting=${resting.get(path.split("/")[0])} />`);
  return html`<${Table} id="targets" title="Targets" head=${["Target", "State", "In flight", "p50", "p95", "Attempts", "Errors", "Cost", "Up, last hour", "Keys resting", ""]} rows=${rows} empty="No target has been called yet." />`;
}

function Target({ path, target, load = {}, resting = 0 }) {
  const state = load.held ? "held" : (target.state ?? "–");
  const isOut = load.held || state === "open" || state === "half_open";
  const latency = target.latency_ms ?? {};
  return html`
    <tr>
      <th scope="row"><bdi>${path}</bdi></th>
      <td><span class=${`state ${state}`}>${state.replace("_", " ")}</span></td>
      <td>${load.in_flight ?? 0}${load.waiting ? ` + ${load.waiting} waiting` : ""}</td>
      <td>${ms(latency.p50)}</td><td>${ms(latency.p95)}</td>
      <td>${target.attempts ?? 0}</td><td>${target.errors ?? 0}${Object.entries(target.errors_by_type ?? {}).map(([kind, count]) => html`<span class="limit">${count} ${kind}</span>`)}</td><td>${dollars(target.cost_usd ?? 0)}</td>
      <td>${load.uptime === null || load.uptime === undefined ? "–" : `${(load.uptime * 100).toFixed(1)} %`}</td>
      <td>${resting || ""}</td>
      <td>${load.in_flight === undefined ? null : html`<button type="button" class="quiet" aria-label=${`${isOut ? "Readmit" : "Eject"} ${path}`} onClick=${() => act(`v1/admin/${isOut ? "readmit" : "eject"}`, { target: path })}>${isOut ? "Readmit" : "Eject"}</button>`}</td>
    </tr>
  `;
}

function ms(value) {
  return value === undefined ? "–" : `${number(value, value < 10 ? 1 : 0)} ms`;
}

function Routes({ now }) {
  if (!now.routes.length) return null;
  return html`
    <section aria-labelledby="routes"><h2 id="routes">Models and their routes</h2><ul class="routes">${now.routes.map((route) => html`<${RouteShape} route=${route} />`)}</ul></section>
  `;
}

/** One model as a small graph: lines as wide as the share of the requests that went there. */
function RouteShape({ route }) {
  const ends = [
    ...route.targets.map((target) => ({ name: target, kind: "" })),
    ...route.fallbacks.map((name) => ({ name, kind: "fallback" })),
    ...(route.shadow ? [{ name: route.shadow, kind: "shadow" }] : []),
  ];
  const height = ends.length * 28;
  const shares = new Map(Object.entries(route.shares));
  const share = (end) => (end.kind === "shadow" || !end.name.includes("/") ? null : shares.get(end.name.split("/")[0]));
  return html`
    <li>
      <strong><bdi>${route.model}</bdi></strong><span class="facts">${route.kind === "targets" ? route.strategy : route.kind === "target" ? "" : route.kind}</span>
      <div class="route">
        <svg aria-hidden="true" width="70" height=${height} viewBox=${`0 0 70 ${height}`}>
          ${ends.map((end, at) => html`<path class=${end.kind || "main"} stroke-width=${1.5 + 6 * (share(end) ?? 0)} d=${`M0 ${height / 2} C35 ${height / 2} 35 ${at * 28 + 14} 70 ${at * 28 + 14}`} />`)}
        </svg>
        <ul>${ends.map((end) => html`<li><bdi>${end.name}</bdi> <span class="facts">${[end.kind, share(end) === undefined || share(end) === null ? "" : `${(share(end) * 100).toFixed(0)} %`].filter(Boolean).join(", ")}</span></li>`)}</ul>
      </div>
    </li>
  `;
}

function Callers({ now }) {
  const rows = now.callers.map((caller) => html`
    <tr>
      <th scope="row"><bdi>${caller.name}</bdi></th>
      <td>${caller.requests ?? 0}</td><td>${caller.failed_requests ?? 0}</td><td>${caller.documents ?? 0}</td><td>${caller.tokens ?? 0}</td><td>${dollars(caller.cost) ?? "–"}</td>
      <td>${(caller.limits ?? []).map((limit) => html`<span class="limit">${left(limit)}</span>`)}</td>
    </tr>`);
  return html`<${Table} id="callers" title="Callers, today" head=${["Key", "Requests", "Failed", "Documents", "Tokens", "Cost", "Left"]} rows=${rows} empty="This gateway asks for no keys." />`;
}

function left(limit) {
  const amount = limit.unit === "usd" ? `$${(limit.left / 1e9).toFixed(2)}` : limit.left;
  return `${amount} of ${limit.words}`;
}

function Local({ now }) {
  const { queues } = now.snapshot;
  if (!queues.length) return null;
  const rows = queues.map((queue) => html`<tr><th scope="row"><bdi>${queue.provider}/${queue.model}</bdi></th><td>${queue.queued_tokens}</td><td>${queue.batches}</td><td>${queue.batches ? number(queue.texts / queue.batches, 1) : "–"}</td></tr>`);
  return html`<${Table} id="local" title="Models in this gateway" head=${["Model", "Tokens waiting", "Batches", "Texts per batch"]} rows=${rows} empty="" />`;
}

function Candidates({ now }) {
  const { shadows, canaries } = now.snapshot;
  if (!shadows.length && !canaries.length) return null;
  const compared = shadows.map((one) => html`
    <tr><th scope="row"><bdi>${one.model} → ${one.candidate}</bdi></th><td>${Object.entries(one.calls).map(([outcome, count]) => `${count} ${outcome}`).join(", ")}</td>
    <td>${number(one.overlap_at_10, 2)}</td><td>${number(one.kendall_tau, 2)}</td><td>${number(one.top_changed, 2)}</td><td>${ms(one.latency_ms?.p95)}</td><td>${dollars(one.cost_usd ?? 0)}</td></tr>`);
  const checked = canaries.map((one) => html`<tr><th scope="row"><bdi>${one.provider}/${one.model}</bdi></th><td><span class=${`state ${one.state}`}>${one.state}</span></td><td>${(one.drift * 100).toFixed(1)} %</td></tr>`);
  return html`
    ${compared.length ? html`<${Table} id="shadows" title="Candidates beside models" head=${["Model → candidate", "Calls", "Overlap of ten", "Kendall's tau", "Other first result", "p95", "Cost"]} rows=${compared} empty="" />` : null}
    ${checked.length ? html`<${Table} id="canaries" title="Canaries" head=${["Target", "State", "Moved"]} rows=${checked} empty="" />` : null}
  `;
}

function Incidents({ now }) {
  const rows = now.incidents.map((one) => html`
    <tr><td><time datetime=${new Date(one.time * 1000).toISOString()}>${new Date(one.time * 1000).toLocaleTimeString()}</time></td><td>${one.status || "gone"}</td>
    <td><bdi>${one.caller ?? ""}</bdi></td><td><bdi>${one.model ?? ""}</bdi></td><td>${one.error_type || (one.served ? html`served by <bdi>${one.served}</bdi>` : "")}</td>
    <td>${(one.failed ?? []).map((attempt) => html`<bdi class="limit">${attempt}</bdi>`)}</td><td><code>${one.request_id}</code></td></tr>`);
  const where = now.workers > 1 ? " (of the worker that answers)" : "";
  return html`<${Table} id="incidents" title=${`Refusals and fallbacks${where}`} head=${["Time", "Status", "Key", "Model", "What", "Failed attempts", "Request"]} rows=${rows} empty="None so far." />`;
}

// Plots over time

function draw() {
  const now = board.value;
  if (!now) return;
  const times = now.samples.map((sample) => sample.time);
  plot("plot-requests", "Requests per minute", times, [
    ["requests", "--accent", now.samples.map((sample) => sample.requests * 4)],
    ["failed", "--down", now.samples.map((sample) => sample.failed * 4)],
  ]);
  plot("plot-latency", "Milliseconds", times, [
    ["p50", "--accent", now.samples.map((sample) => sample.p50_ms)],
    ["p95", "--warn", now.samples.map((sample) => sample.p95_ms)],
  ]);
}

function plot(id, title, times, lines) {
  const place = document.querySelector(`#${id}`);
  const data = [times, ...lines.map((line) => line[2])];
  const known = plots.get(id);
  if (known && known.root.isConnected) return known.setData(data);
  const ink = color("--faint");
  const axis = { stroke: ink, grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
  const series = lines.map(([label, tint]) => ({ label, stroke: color(tint), width: 2, spanGaps: true }));
  const options = { title, width: Math.max(280, place.clientWidth), height: 200, legend: { live: false }, axes: [axis, { ...axis, size: 60 }], series: [{}, ...series] };
  plots.set(id, new uPlot(options, data, place));
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

effect(() => {
  render(html`<${App} />`, document.querySelector("#app"));
  draw();
});
watch();
