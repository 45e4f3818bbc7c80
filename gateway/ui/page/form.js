// The left side: what is asked, of whom, and how to take it elsewhere.

import { SNIPPETS } from "./snippets.js";
import {
  MAX_MODELS, addModel, chosenModels, columns, copied, copy, copying, dragging, key, loadModels, names, parameters, parsed, pick, picked, query,
  removeModel, requestOf, run, set, share, snippet, takeFile, takeSample, text, wantsKey, write,
} from "./state.js";
import htm from "./htm/htm.module.js";
import { h } from "./preact/preact.module.js";

const html = htm.bind(h);

/** Rank, and bring the results into sight where they are below the form. */
function submit(event) {
  event.preventDefault();
  const ranking = run();
  const results = document.querySelector("#results");
  if (results.getBoundingClientRect().top > window.innerHeight / 2) results.scrollIntoView();
  return ranking;
}

/** A text that is dropped goes where the browser puts it. */
function drop(event) {
  dragging.value = false;
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
}

function dragOver(event) {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  dragging.value = true;
}

function copyAs() {
  copying.value = true;
  document.querySelector("#snippets").showModal();
}

function openFile(event) {
  takeFile(event.target.files[0]);
  event.target.value = ""; // So that the same file can be opened again.
}

export function Form() {
  const { documents, form } = parsed.value;
  return html`
    <form noValidate onSubmit=${submit} onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event)}>
      <label for="query">Query</label>
      <input id="query" value=${query.value} onInput=${(event) => (query.value = event.target.value)} dir="auto" autocomplete="off" />
      <div class="labelled">
        <label for="documents">Documents</label>
        <span class="count" id="count">${documents.length} ${documents.length === 1 ? "document" : "documents"} (${form})</span>
      </div>
      <textarea
        id="documents" aria-describedby="count forms" dir="auto" spellcheck="false" value=${text.value}
        class=${dragging.value ? "dragging" : ""} onInput=${(event) => write(event.target.value)}
        onDragOver=${dragOver}
        onDragLeave=${() => (dragging.value = false)} onDrop=${drop}
      ></textarea>
      <p id="forms" class="hint">One a line, or paragraphs with blank lines between; JSON, JSON lines, CSV and TSV too. Or drop a file.</p>
      <div class="row">
        <input id="file" class="hidden" type="file" accept=".txt,.csv,.tsv,.json,.jsonl,.md" onChange=${openFile} />
        <label class="button quiet" for="file">Open a file</label>
        <button type="button" class="quiet" id="sample" onClick=${takeSample}>Sample</button>
      </div>
      <${Models} />
      <${Parameters} />
      ${wantsKey.value ? html`<${Key} />` : null}
      <div class="row main">
        <button type="submit" class="primary" disabled=${!documents.length || !query.value.trim()}>Rank</button>
        <button type="button" class="quiet" id="share" onClick=${share}>Copy link</button>
        <button type="button" class="quiet" id="copy-as" onClick=${copyAs} disabled=${!documents.length}>Copy as …</button>
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
          ${picked.value.length > 1 ? html`<button type="button" class="quiet" aria-label=${`Remove model ${at + 1}`} onClick=${() => removeModel(at)}>×</button>` : null}
        </div>
      `)}
      ${picked.value.length < MAX_MODELS ? html`<button type="button" class="quiet" id="add" onClick=${addModel}>Add a model</button>` : null}
    </fieldset>
  `;
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

function Snippets() {
  return html`
    <dialog id="snippets" aria-labelledby="snippets-title" onClose=${() => (copying.value = false)}>
      <h2 id="snippets-title">Copy as</h2>
      ${copying.value ? html`<${Snippet} />` : null}
    </dialog>
  `;
}

function Snippet() {
  const models = chosenModels();
  const request = requestOf(models[0] ?? "provider/model");
  const url = new URL("v1/rerank", location.href.split("#")[0]).href;
  const content = SNIPPETS[snippet.value]({ url, request, hasKey: Boolean(key.value), models, targets: models.map(targetOf) });
  return html`
      <div class="row" role="group" aria-label="Form">
        ${Object.keys(SNIPPETS).map((name) => html`<button type="button" class=${name === snippet.value ? "chosen" : "quiet"} aria-pressed=${name === snippet.value} onClick=${() => (snippet.value = name)}>${name}</button>`)}
      </div>
      <pre tabindex="0" id="snippet" aria-label=${snippet.value}>${content}</pre>
      <div class="row">
        <button type="button" class="primary" onClick=${() => copy(content, "Copied.", "Select the text and copy it.")}>${copied.value === content ? "Copied" : "Copy"}</button>
        <button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>Close</button>
      </div>
  `;
}

/** A name as `target` of a configuration takes it: what is asked first, where an answer told it. */
function targetOf(name) {
  const answer = columns.value.find((column) => column.model === name)?.answer;
  const extra = answer?.extra_fields;
  if (!extra?.provider || extra.members || extra.stages) return name;
  const first = extra.attempts?.[0];
  if (first) return `${first.provider}/${first.model}`;
  return `${extra.provider}/${extra.resolved_model_used ?? answer.model}`;
}
