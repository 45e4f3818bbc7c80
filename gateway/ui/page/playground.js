// The playground: what is on the page, and what happens when somebody uses it.

import { Refused, listModels, rank } from "./api.js";
import { parseDocuments } from "./documents.js";
import { ROW, WIDTH, direction, lines, sentence } from "./moves.js";
import * as sample from "./sample.js";
import { MAX_LINK_CHARACTERS, fromFragment, toFragment } from "./share.js";
import { SNIPPETS } from "./snippets.js";
import { dollars, milliseconds, number, pieces } from "./text.js";
import htm from "./htm/htm.module.js";
import { h, render } from "./preact/preact.module.js";
import { batch, computed, effect, signal } from "./signals/signals-core.module.js";

const html = htm.bind(h);
const MAX_MODELS = 4;
const ROWS_AT_FIRST = 30;

const query = signal("");
const text = signal("");
const fileName = signal("");
const picked = signal([""]);
const parameters = signal({ top_n: "", max_tokens_per_doc: "", instruction: "", return_spans: false });
const key = signal("");
const names = signal([]);
const notice = signal("");
const columns = signal([]);
const ranked = signal({ documents: [] });
const active = signal(-1);
const opened = signal(new Set());
const showsAll = signal(false);
const snippet = signal("curl");
const dragging = signal(false);
const parsed = computed(() => parseDocuments(text.value, fileName.value));
const wantsKey = computed(() => columns.value.some((column) => column.error?.status === 401) || needsKey.value);
const needsKey = signal(false);
let underWay = new AbortController();

// What is asked

function requestOf(model) {
  const request = { model, query: query.value, documents: parsed.value.documents };
  const { top_n, max_tokens_per_doc, instruction, return_spans } = parameters.value;
  if (top_n !== "") request.top_n = Number(top_n);
  if (max_tokens_per_doc !== "") request.max_tokens_per_doc = Number(max_tokens_per_doc);
  if (instruction.trim()) request.instruction = instruction.trim();
  if (return_spans) request.return_spans = true;
  return request;
}

async function run(event) {
  event?.preventDefault();
  underWay.abort();
  underWay = new AbortController();
  const models = [...new Set(picked.value.map((name) => name.trim()).filter(Boolean))];
  if (!models.length) return say("Choose a model first.");
  batch(() => {
    say("");
    opened.value = new Set();
    ranked.value = { documents: parsed.value.documents };
    columns.value = models.map((model) => ({ model, isWaiting: true }));
  });
  const { signal } = underWay;
  await Promise.all(models.map((model, at) => fill(at, model, signal)));
  if (!signal.aborted) say(summary());
}

async function fill(at, model, signal) {
  const request = requestOf(model);
  let column;
  try {
    column = { model, request, ...(await rank(request, key.value, signal)) };
  } catch (failure) {
    if (!(failure instanceof Refused)) return;
    column = { model, request, error: failure };
  }
  if (!signal.aborted) columns.value = columns.value.map((one, place) => (place === at ? column : one));
}

function summary() {
  const failed = columns.value.filter((column) => column.error).length;
  const done = columns.value.length - failed;
  return `${done} ranking${done === 1 ? "" : "s"}${failed ? `, ${failed} failed` : ""}.`;
}

function say(sentence) {
  notice.value = sentence;
}

async function loadModels() {
  try {
    const { names: found, defaultModel } = await listModels(key.value);
    batch(() => {
      names.value = found;
      needsKey.value = false;
      if (picked.value.every((name) => !name)) picked.value = [defaultModel ?? found[0] ?? ""];
    });
    return true;
  } catch (failure) {
    needsKey.value = failure.status === 401;
    if (!needsKey.value) say(failure.message);
    return false;
  }
}

// What a person does

function set(name, value) {
  parameters.value = { ...parameters.value, [name]: value };
}

function pick(at, name) {
  picked.value = picked.value.map((one, place) => (place === at ? name : one));
}

function takeSample() {
  batch(() => {
    query.value = sample.QUERY;
    text.value = sample.DOCUMENTS;
    fileName.value = "";
  });
}

async function takeFile(file) {
  if (!file) return;
  const content = await file.text();
  batch(() => {
    text.value = content;
    fileName.value = file.name;
    say(`${file.name}: ${parsed.value.documents.length} documents.`);
  });
}

function drop(event) {
  event.preventDefault();
  dragging.value = false;
  takeFile(event.dataTransfer.files[0]);
}

function toggle(place) {
  const next = new Set(opened.value);
  next.has(place) ? next.delete(place) : next.add(place);
  opened.value = next;
}

async function share() {
  const fragment = await toFragment({
    query: query.value,
    text: text.value,
    fileName: fileName.value,
    picked: picked.value,
    parameters: parameters.value,
  });
  if (fragment.length > MAX_LINK_CHARACTERS) return say("These documents are too long for a link.");
  history.replaceState(null, "", fragment);
  await copy(location.href, "The link is copied. It holds your texts; no server has seen them.", "The address bar has the link.");
}

async function copy(content, done, otherwise) {
  try {
    await navigator.clipboard.writeText(content);
    say(done);
  } catch {
    say(otherwise);
  }
}

async function open() {
  const shared = await fromFragment(location.hash);
  const known = await loadModels();
  if (shared === null) {
    takeSample();
    if (known && picked.value[0]) run();
    return;
  }
  batch(() => {
    query.value = String(shared.query ?? "");
    text.value = String(shared.text ?? "");
    fileName.value = String(shared.fileName ?? "");
    if (Array.isArray(shared.picked) && shared.picked.length) picked.value = shared.picked.slice(0, MAX_MODELS).map(String);
    parameters.value = { ...parameters.value, ...shared.parameters };
  });
}

// What is shown

function App() {
  return html`
    <a class="skip" href="#results">Skip to the results</a>
    <header>
      <h1><img src="ui/icon.svg" alt="" width="28" height="28" /> Rerank playground</h1>
      <nav aria-label="Elsewhere"><a href="docs">API</a></nav>
    </header>
    <main>
      <${Form} />
      <section id="results" aria-label="Results" tabindex="-1">
        <p class="notice" role="status">${notice.value}</p>
        ${columns.value.length ? html`<${Results} />` : html`<p class="hint">Press Rank, or Ctrl + Enter, to see how each model sorts the documents.</p>`}
      </section>
    </main>
  `;
}

function Form() {
  const { documents, form } = parsed.value;
  return html`
    <form onSubmit=${run} onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && run(event)}>
      <label for="query">Query</label>
      <input id="query" value=${query.value} onInput=${(event) => (query.value = event.target.value)} dir="auto" autocomplete="off" />
      <div class="labelled">
        <label for="documents">Documents</label>
        <span class="count" id="count">${documents.length} ${documents.length === 1 ? "document" : "documents"} (${form})</span>
      </div>
      <textarea
        id="documents" aria-describedby="count forms" dir="auto" spellcheck="false" value=${text.value}
        class=${dragging.value ? "dragging" : ""}
        onInput=${(event) => batch(() => { text.value = event.target.value; fileName.value = ""; })}
        onDragOver=${(event) => { event.preventDefault(); dragging.value = true; }}
        onDragLeave=${() => (dragging.value = false)} onDrop=${drop}
      ></textarea>
      <p id="forms" class="hint">One a line, or paragraphs with blank lines between; JSON, JSON lines, CSV and TSV too. Or drop a file.</p>
      <div class="row">
        <label class="button quiet" for="file">Open a file</label>
        <input id="file" class="hidden" type="file" accept=".txt,.csv,.tsv,.json,.jsonl,.md" onChange=${(event) => takeFile(event.target.files[0])} />
        <button type="button" class="quiet" onClick=${takeSample}>Sample</button>
      </div>
      <${Models} />
      <${Parameters} />
      ${wantsKey.value ? html`<${Key} />` : null}
      <div class="row main">
        <button type="submit" class="primary" disabled=${!documents.length || !query.value.trim()}>Rank</button>
        <button type="button" class="quiet" onClick=${share}>Copy link</button>
        <button type="button" class="quiet" onClick=${() => document.querySelector("#snippets").showModal()} disabled=${!documents.length}>Copy as …</button>
      </div>
    </form>
    <${Snippets} />
  `;
}

function Models() {
  return html`
    <fieldset>
      <legend>Models, up to ${MAX_MODELS} side by side</legend>
      <datalist id="names">${names.value.map((name) => html`<option value=${name}></option>`)}</datalist>
      ${picked.value.map((name, at) => html`
        <div class="model">
          <input
            id=${`model-${at}`} aria-label=${`Model ${at + 1}`} list="names" value=${name} placeholder="provider/model"
            autocomplete="off" spellcheck="false" onInput=${(event) => pick(at, event.target.value)}
          />
          ${picked.value.length > 1 ? html`<button type="button" class="quiet" aria-label=${`Remove model ${at + 1}`} onClick=${() => (picked.value = picked.value.filter((_, place) => place !== at))}>×</button>` : null}
        </div>
      `)}
      ${picked.value.length < MAX_MODELS ? html`<button type="button" class="quiet" id="add" onClick=${addModel}>Add a model</button>` : null}
    </fieldset>
  `;
}

function addModel() {
  const next = names.value.find((name) => !picked.value.includes(name)) ?? "";
  picked.value = [...picked.value, next];
}

function Parameters() {
  const { top_n, max_tokens_per_doc, instruction, return_spans } = parameters.value;
  return html`
    <details class="parameters">
      <summary>Parameters</summary>
      <label for="top_n">Results (top_n)</label>
      <input id="top_n" type="number" min="1" value=${top_n} placeholder="all" onInput=${(event) => set("top_n", event.target.value)} />
      <label for="max_tokens">Tokens per document (max_tokens_per_doc)</label>
      <input id="max_tokens" type="number" min="1" value=${max_tokens_per_doc} placeholder="the model's own" onInput=${(event) => set("max_tokens_per_doc", event.target.value)} />
      <label for="instruction">Instruction, for models that follow one</label>
      <input id="instruction" value=${instruction} dir="auto" onInput=${(event) => set("instruction", event.target.value)} />
      <label class="check"><input id="spans" type="checkbox" checked=${return_spans} onChange=${(event) => set("return_spans", event.target.checked)} /> Mark the passage that decided</label>
    </details>
  `;
}

function Key() {
  return html`
    <label for="key">This gateway asks for a key</label>
    <input id="key" type="password" autocomplete="off" value=${key.value} aria-describedby="key-hint" onInput=${(event) => (key.value = event.target.value)} onChange=${loadModels} />
    <p id="key-hint" class="hint">It stays in the memory of this page and is forgotten when you leave.</p>
  `;
}

function Results() {
  return html`
    <div class="columns" tabindex="0" role="group" aria-label="Rankings side by side">
      <${Incoming} />
      ${columns.value.map((column, at) => html`<${Column} column=${column} at=${at} key=${column.model} />`)}
    </div>
  `;
}

function Incoming() {
  const { documents } = ranked.value;
  const rows = shown(documents.map((document, index) => ({ index })));
  return html`
    <section class="column incoming" aria-label="As they came">
      <div class="head"><h2>As they came</h2><p class="facts">${documents.length} documents</p></div>
      <ol class="rows">${rows.map(({ index }, rank) => html`<${Row} result=${{ index }} rank=${rank} place=${`in-${index}`} />`)}</ol>
      <${More} count=${documents.length} />
    </section>
  `;
}

function Column({ column, at }) {
  return html`
    <section class="column" aria-label=${column.model} aria-busy=${Boolean(column.isWaiting)}>
      <div class="head">
        <h2><bdi>${column.model}</bdi></h2>
        ${column.isWaiting ? html`<p class="facts">ranking …</p>` : null}
        ${column.error ? html`<${Failure} error=${column.error} />` : null}
        ${column.answer ? html`<${Facts} column=${column} />` : null}
      </div>
      ${column.answer ? html`<${Ranking} column=${column} at=${at} />` : null}
    </section>
  `;
}

function Failure({ error }) {
  return html`
    <div class="failure" role="alert">
      <p>${error.message}</p>
      <p class="facts">${error.status ? `HTTP ${error.status}` : "no answer"}</p>
      <${Attempts} attempts=${error.attempts} />
    </div>
  `;
}

function Ranking({ column, at }) {
  const { answer } = column;
  const rows = shown(answer.results);
  const scores = answer.results.map((result) => result.relevance_score).filter((score) => score !== null);
  const range = { low: Math.min(...scores, 0), high: Math.max(...scores) };
  return html`
    <div class="ranking">
      <${Lines} results=${rows} />
      <ol class="rows">
        ${rows.map((result, rank) => html`<${Row} result=${result} rank=${rank} range=${range} place=${`${at}-${result.index}`} key=${result.index} />`)}
      </ol>
    </div>
    <${More} count=${answer.results.length} />
  `;
}

function Facts({ column }) {
  const extra = column.answer.extra_fields;
  const model = extra.resolved_model_used ?? column.answer.model;
  const parts = [milliseconds(column.seconds), dollars(extra.cost), extra.score_space && `scores: ${extra.score_space}`];
  return html`
    <p class="facts"><span class="served">${extra.provider}${model === column.model ? "" : html` · <bdi>${model}</bdi>`}</span> ${parts.filter(Boolean).join(" · ")}</p>
    <${Attempts} attempts=${extra.attempts} />
    <${Marks} column=${column} />
  `;
}

/** What must not be overlooked: that no model ranked, that texts were cut, that something asked for was not done. */
function Marks({ column }) {
  const { warnings = [] } = column.answer.extra_fields;
  const sentences = warnings.map((warning) => warning.message);
  if (column.degraded && !warnings.some((warning) => warning.code === "no_scores")) {
    sentences.unshift("No model ranked: this is the order in which the documents came.");
  }
  return html`${sentences.map((one) => html`<p class="mark">${one}</p>`)}<${Cut} answer=${column.answer} />`;
}

function Attempts({ attempts }) {
  if (!attempts?.length) return null;
  return html`
    <details class="attempts">
      <summary>${attempts.length} attempts</summary>
      <ul>${attempts.map((one) => html`<li><bdi>${one.provider}/${one.model}</bdi>: ${one.error ?? "served"}${one.latency >= 0 ? ` (${one.latency} ms)` : ""}</li>`)}</ul>
    </details>
  `;
}

function Cut({ answer }) {
  const { truncated, truncated_documents } = answer.extra_fields;
  const count = Array.isArray(truncated) ? truncated.length : (truncated_documents ?? 0);
  return count ? html`<p class="mark">${count} ${count === 1 ? "document was" : "documents were"} cut to fit the model.</p>` : null;
}

function Lines({ results }) {
  const count = ranked.value.documents.length;
  const height = results.length * ROW;
  return html`
    <svg class="lines" aria-hidden="true" width=${WIDTH} height=${height} viewBox=${`0 0 ${WIDTH} ${height}`}>
      ${lines(results, count).map((line) => html`<path d=${line.path} class=${`${line.direction}${line.index === active.value ? " active" : ""}`} />`)}
    </svg>
  `;
}

function Row({ result, rank, range, place }) {
  const { index, relevance_score: score } = result;
  const isWhole = opened.value.has(place);
  const [found, isCut] = pieces(ranked.value.documents[index] ?? "", result.spans ?? [], isWhole);
  const move = index - rank;
  return html`
    <li
      class=${`result${index === active.value ? " active" : ""}${isWhole ? " whole" : ""}`}
      onMouseEnter=${() => (active.value = index)} onMouseLeave=${() => (active.value = -1)}
    >
      <span class="rank">${rank + 1}</span>
      <span class="body" dir="auto">${found.map((piece) => (piece.marked ? html`<mark>${piece.text}</mark>` : piece.text))}${isCut || isWhole ? html` <button type="button" class="link" aria-expanded=${isWhole} onClick=${() => toggle(place)}>${isWhole ? "less" : "more"}</button>` : null}</span>
      ${range ? html`<${Score} score=${score} range=${range} move=${move} index=${index} />` : null}
    </li>
  `;
}

function Score({ score, range, move, index }) {
  const share = range.high > range.low && score !== null ? (score - range.low) / (range.high - range.low) : 0;
  return html`
    <span class="score">
      <span class=${`move ${direction(move)}`} title=${sentence(move, index)}><span aria-hidden="true">${move > 0 ? `▲${move}` : move < 0 ? `▼${-move}` : "="}</span><span class="hidden">${sentence(move, index)}; </span></span>
      <span class="value"><span class="hidden">score </span>${number(score)}</span>
      ${range.high > range.low ? html`<meter aria-hidden="true" min="0" max="1" value=${share}></meter>` : null}
    </span>
  `;
}

function shown(results) {
  return showsAll.value ? results : results.slice(0, ROWS_AT_FIRST);
}

function More({ count }) {
  if (count <= ROWS_AT_FIRST) return null;
  return html`<button type="button" class="quiet" onClick=${() => (showsAll.value = !showsAll.value)}>${showsAll.value ? `Show ${ROWS_AT_FIRST}` : `Show all ${count}`}</button>`;
}

function Snippets() {
  const request = requestOf(picked.value.find((name) => name.trim()) ?? "provider/model");
  const url = new URL("v1/rerank", location.href.split("#")[0]).href;
  const content = SNIPPETS[snippet.value]({ url, request, hasKey: Boolean(key.value), targets: targets() });
  return html`
    <dialog id="snippets" aria-labelledby="snippets-title">
      <h2 id="snippets-title">Copy as</h2>
      <div class="row" role="group" aria-label="Language">
        ${Object.keys(SNIPPETS).map((name) => html`<button type="button" class=${name === snippet.value ? "chosen" : "quiet"} aria-pressed=${name === snippet.value} onClick=${() => (snippet.value = name)}>${name}</button>`)}
      </div>
      <pre tabindex="0" id="snippet">${content}</pre>
      <div class="row">
        <button type="button" class="primary" onClick=${() => copy(content, "Copied.", "Select the text and copy it.")}>Copy</button>
        <button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>Close</button>
      </div>
    </dialog>
  `;
}

/** The models as a configuration names them: the target that served, where that is known. */
function targets() {
  return picked.value.filter(Boolean).map((name) => {
    const served = columns.value.find((column) => column.model === name)?.answer;
    const extra = served?.extra_fields;
    return extra?.provider && !extra.attempts ? `${extra.provider}/${extra.resolved_model_used ?? served.model}` : name;
  });
}

effect(() => render(html`<${App} />`, document.querySelector("#app")));
open();
