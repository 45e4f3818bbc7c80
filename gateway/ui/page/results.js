// The right side: the order that came, each model's order beside it, and a document looked at closely.

import { ROW, WIDTH, direction, lines, sentence } from "./moves.js";
import { active, columns, inspected, ranked, showsAll } from "./state.js";
import { MOST_CHARACTERS, dollars, milliseconds, number, pieces } from "./text.js";
import htm from "./htm/htm.module.js";
import { h } from "./preact/preact.module.js";

const html = htm.bind(h);
const ROWS_AT_FIRST = 30;
const FULL_SCALE = ["probability", "calibrated"];
const SPACES = {
  probability: "scores: probability",
  calibrated: "scores: calibrated probability",
  logit: "scores: logit",
  cosine: "scores: cosine",
  unknown: "scores: own scale",
};

export function Results() {
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
      <div class="head"><h2>As they came</h2><p class="facts">${documents.length} ${documents.length === 1 ? "document" : "documents"}</p></div>
      <ol class="rows">${rows.map(({ index }) => html`<${Row} result=${{ index }} rank=${index} at=${-1} key=${index} />`)}</ol>
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

// What is said of an answer as a whole

function Facts({ column }) {
  const extra = column.answer.extra_fields;
  const model = extra.resolved_model_used ?? column.answer.model;
  const parts = [milliseconds(column.seconds), dollars(extra.cost), SPACES[extra.score_space]];
  return html`
    <p class="facts"><span class="served">${extra.provider}${model === column.model ? "" : html` · <bdi>${model}</bdi>`}</span> ${parts.filter(Boolean).join(" · ")}</p>
    <${Attempts} attempts=${extra.attempts} />
    <${Parts} title="models fused" parts=${extra.members} />
    <${Parts} title="stages" parts=${extra.stages} />
    ${marks(column).map((one) => html`<p class="mark">${one}</p>`)}
  `;
}

/** What must not be overlooked: that no model ranked, that texts were cut, that something asked for was not done. */
function marks({ answer, degraded }) {
  const { warnings = [], ignored = [], truncated, truncated_documents, truncated_query } = answer.extra_fields;
  const sentences = warnings.map((warning) => warning.message);
  if (degraded && !warnings.some((warning) => warning.code === "no_scores")) {
    sentences.unshift("No model ranked: this is the order in which the documents came.");
  }
  const cut = truncated?.length ?? truncated_documents ?? 0;
  if (cut) sentences.push(`${cut} ${cut === 1 ? "document was" : "documents were"} cut to fit the model.`);
  if (truncated_query) sentences.push(`The query was cut to its first ${truncated_query.kept} characters.`);
  if (ignored.length) sentences.push(`This gateway does not read: ${ignored.join(", ")}.`);
  return sentences;
}

function Attempts({ attempts }) {
  if (!attempts?.length) return null;
  return html`
    <details class="attempts">
      <summary>${attempts.length} ${attempts.length === 1 ? "attempt" : "attempts"}</summary>
      <ul>${attempts.map((one) => html`<li><bdi>${one.provider}/${one.model}</bdi>: ${one.error ?? "served"}${one.latency >= 0 ? ` (${one.latency} ms)` : ""}</li>`)}</ul>
    </details>
  `;
}

function Parts({ title, parts }) {
  if (!parts?.length) return null;
  return html`
    <details class="attempts">
      <summary>${parts.length} ${title}</summary>
      <ul>${parts.map((one) => html`<li><bdi>${one.model}</bdi>: ${one.error_type ?? [one.kept && `kept ${one.kept}`, `${one.latency} ms`, dollars(one.cost)].filter(Boolean).join(", ")}</li>`)}</ul>
    </details>
  `;
}

// The rows

function Ranking({ column, at }) {
  const { answer } = column;
  const rows = shown(answer.results);
  const range = rangeOf(answer);
  return html`
    <div class="ranking">
      <${Lines} results=${rows} />
      <ol class="rows">
        ${rows.map((result, rank) => html`<${Row} result=${result} rank=${rank} range=${range} at=${at} isCut=${Boolean(cutOf(answer, result.index))} key=${result.index} />`)}
      </ol>
    </div>
    <${More} count=${answer.results.length} />
  `;
}

/** What a full bar means: 1 for probabilities, else the answer's own highest score. */
function rangeOf({ results, extra_fields }) {
  if (FULL_SCALE.includes(extra_fields.score_space)) return { low: 0, high: 1 };
  const scores = results.map((result) => result.relevance_score).filter((score) => score !== null);
  return { low: Math.min(...scores, 0), high: Math.max(...scores, 0) };
}

function cutOf(answer, index) {
  return answer.extra_fields.truncated?.find((one) => one.index === index);
}

function Lines({ results }) {
  const rows = shown(ranked.value.documents).length;
  const height = rows * ROW;
  return html`
    <svg class="lines" aria-hidden="true" width=${WIDTH} height=${height} viewBox=${`0 0 ${WIDTH} ${height}`}>
      ${lines(results, rows).map((line) => html`<path d=${line.path} class=${`${line.direction}${line.index === active.value ? " active" : ""}`} />`)}
    </svg>
  `;
}

function Row({ result, rank, range, at, isCut }) {
  const { index, relevance_score: score } = result;
  const [found] = pieces(ranked.value.documents[index] ?? "", result.spans ?? [], false);
  const enter = () => (active.value = index);
  const leave = () => (active.value = -1);
  return html`
    <li class=${`result${index === active.value ? " active" : ""}`} onMouseEnter=${enter} onMouseLeave=${leave}>
      <span class="rank">${rank + 1}</span>
      <button type="button" class="look" aria-haspopup="dialog" onClick=${() => look(index, at)} onFocus=${enter} onBlur=${leave}>
        ${isCut ? html`<span class="chip">cut</span>` : null}<${Text} pieces=${found} />
      </button>
      ${range ? html`<${Score} score=${score} range=${range} move=${index - rank} index=${index} />` : null}
    </li>
  `;
}

function Text({ pieces }) {
  return html`<span class="body" dir="auto">${pieces.map((piece) => (piece.marked ? html`<mark>${piece.text}</mark>` : piece.text))}</span>`;
}

function Score({ score, range, move, index }) {
  const share = range.high > range.low && score !== null ? (score - range.low) / (range.high - range.low) : 0;
  return html`
    <span class="score">
      <${Move} move=${move} index=${index} />
      <span class="value"><span class="hidden">score </span>${number(score)}</span>
      ${range.high > range.low ? html`<meter aria-hidden="true" min="0" max="1" value=${share}></meter>` : null}
    </span>
  `;
}

function Move({ move, index }) {
  const arrow = move > 0 ? `▲${move}` : move < 0 ? `▼${-move}` : "=";
  return html`<span class=${`move ${direction(move)}`} title=${sentence(move, index)}><span aria-hidden="true">${arrow}</span><span class="hidden">${sentence(move, index)}; </span></span>`;
}

function shown(results) {
  return showsAll.value ? results : results.slice(0, ROWS_AT_FIRST);
}

function More({ count }) {
  if (count <= ROWS_AT_FIRST) return null;
  return html`<button type="button" class="quiet" onClick=${() => (showsAll.value = !showsAll.value)}>${showsAll.value ? `Show ${ROWS_AT_FIRST}` : `Show all ${count}`}</button>`;
}

// One document, whole

function look(index, at) {
  inspected.value = { index, at };
  document.querySelector("#document").showModal();
}

export function Inspector() {
  return html`
    <dialog id="document" aria-labelledby="document-title" onClose=${() => (inspected.value = null)}>
      ${inspected.value ? html`<${Inspected} index=${inspected.value.index} at=${inspected.value.at} />` : null}
    </dialog>
  `;
}

/** A document as every model placed it, with the text as the model read it in whose column it was opened. */
function Inspected({ index, at }) {
  const answers = columns.value.filter((column) => column.answer);
  const answer = columns.value[at]?.answer;
  const spans = answer?.results.find((result) => result.index === index)?.spans ?? [];
  const [found, isLong] = pieces(ranked.value.documents[index] ?? "", spans, true);
  const cut = answer && cutOf(answer, index);
  return html`
    <h2 id="document-title">Document ${index + 1}</h2>
    ${answers.length ? html`<table><tbody>${answers.map((column) => html`<${Place} column=${column} index=${index} key=${column.model} />`)}</tbody></table>` : null}
    ${cut ? html`<p class="mark">The model got the first ${cut.kept} of ${cut.characters} characters.</p>` : null}
    <div class="whole" tabindex="0" role="group" aria-label="Text"><${Text} pieces=${found} /></div>
    ${isLong ? html`<p class="hint">These are its first ${MOST_CHARACTERS} characters.</p>` : null}
    <div class="row"><button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>Close</button></div>
  `;
}

function Place({ column, index }) {
  const rank = column.answer.results.findIndex((result) => result.index === index);
  const result = column.answer.results[rank];
  return html`
    <tr>
      <th scope="row"><bdi>${column.model}</bdi></th>
      ${result ? html`<td>number ${rank + 1}</td><td><${Move} move=${index - rank} index=${index} /></td><td class="value">${number(result.relevance_score)}</td>` : html`<td colspan="3">not among its results</td>`}
    </tr>
  `;
}
