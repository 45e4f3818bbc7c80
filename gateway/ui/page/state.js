// What is on the page, as signals, and what changes it.

import { Refused, listModels, rank } from "./api.js";
import { parseDocuments } from "./documents.js";
import * as sample from "./sample.js";
import { MAX_LINK_CHARACTERS, fromFragment, toFragment } from "./share.js";
import { batch, computed, signal } from "./signals/signals-core.module.js";

export const MAX_MODELS = 4;

// What a person has filled in
export const query = signal("");
export const text = signal("");
export const fileName = signal("");
export const picked = signal([""]);
export const parameters = signal({ top_n: "", max_tokens_per_doc: "", instruction: "", return_spans: false });
export const key = signal("");
export const parsed = computed(() => parseDocuments(text.value, fileName.value));

// What came back
export const names = signal([]);
export const columns = signal([]);
export const ranked = signal({ documents: [] });
export const notice = signal("");
const keyIsMissing = signal(false);
export const wantsKey = computed(
  () => keyIsMissing.value || Boolean(key.value) || columns.value.some((one) => [401, 403].includes(one.error?.status)),
);

// What is looked at
export const active = signal(-1);
export const inspected = signal(null);
export const showsAll = signal(false);
export const snippet = signal("curl");
export const dragging = signal(false);
export const copied = signal("");
export const copying = signal(false);

let underWay = new AbortController();

export function say(sentence) {
  notice.value = sentence;
}

export function requestOf(model) {
  const request = { model, query: query.value, documents: parsed.value.documents };
  const { top_n, max_tokens_per_doc, instruction, return_spans } = parameters.value;
  if (top_n !== "") request.top_n = Number(top_n);
  if (max_tokens_per_doc !== "") request.max_tokens_per_doc = Number(max_tokens_per_doc);
  if (instruction.trim()) request.instruction = instruction.trim();
  if (return_spans) request.return_spans = true;
  return request;
}

export function chosenModels() {
  return [...new Set(picked.value.map((name) => name.trim()).filter(Boolean))];
}

export async function run() {
  underWay.abort();
  underWay = new AbortController();
  const models = chosenModels();
  if (!models.length) return say("Choose a model first.");
  if (!parsed.value.documents.length || !query.value.trim()) return say("A ranking needs a query and documents.");
  batch(() => {
    say("");
    ranked.value = { documents: parsed.value.documents };
    columns.value = models.map((model) => ({ model, request: requestOf(model), isWaiting: true }));
  });
  const { signal } = underWay;
  await Promise.all(columns.value.map((column, at) => fill(at, column, signal)));
  if (!signal.aborted) say(summary());
}

async function fill(at, { model, request }, signal) {
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

/** Whether the list of models could be had. */
export async function loadModels() {
  try {
    const { names: found, defaultModel } = await listModels(key.value);
    batch(() => {
      names.value = found;
      keyIsMissing.value = false;
      if (picked.value.every((name) => !name)) picked.value = [defaultModel ?? found[0] ?? ""];
    });
    return true;
  } catch (failure) {
    keyIsMissing.value = failure.status === 401;
    if (!keyIsMissing.value || key.value) say(failure.message);
    return false;
  }
}

export function set(name, value) {
  parameters.value = { ...parameters.value, [name]: value };
}

export function pick(at, name) {
  picked.value = picked.value.map((one, place) => (place === at ? name : one));
}

export function addModel() {
  picked.value = [...picked.value, names.value.find((name) => !picked.value.includes(name)) ?? ""];
}

export function removeModel(at) {
  picked.value = picked.value.filter((_, place) => place !== at);
}

export function write(content, name = "") {
  batch(() => {
    text.value = content;
    fileName.value = name;
  });
}

export function takeSample() {
  query.value = sample.QUERY;
  write(sample.DOCUMENTS);
}

export async function takeFile(file) {
  if (!file) return;
  try {
    write(await file.text(), file.name);
    say(`${file.name}: ${parsed.value.documents.length} documents.`);
  } catch {
    say(`${file.name} cannot be read: drop one file of text.`);
  }
}

export async function share() {
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

export async function copy(content, done, otherwise) {
  try {
    await navigator.clipboard.writeText(content);
    copied.value = content;
    say(done);
  } catch {
    say(otherwise);
  }
}

/** What a link holds, or the sample, ranked at once if that takes no key. A link is ranked when its reader says so. */
export async function begin() {
  const shared = await fromFragment(location.hash);
  const known = await loadModels();
  if (shared !== null) return restore(shared);
  takeSample();
  if (known && picked.value[0]) await run();
}

/** A link that is opened where the page is already: the browser changes the fragment alone. */
export async function follow() {
  const shared = await fromFragment(location.hash);
  if (shared !== null) restore(shared);
}

function restore(shared) {
  const textOf = (value) => (typeof value === "string" ? value : "");
  batch(() => {
    query.value = textOf(shared.query);
    write(textOf(shared.text), textOf(shared.fileName));
    const models = Array.isArray(shared.picked) ? shared.picked.slice(0, MAX_MODELS).map(textOf).filter(Boolean) : [];
    if (models.length) picked.value = models;
    for (const [name, value] of Object.entries(parameters.value)) {
      const given = shared.parameters?.[name];
      if (typeof given === typeof value) set(name, given);
    }
  });
}
