// Texts as they are shown. Whatever a document holds, it is text and nothing else: preact never reads it as HTML.

export const SHOWN_CHARACTERS = 280;
export const MOST_CHARACTERS = 20000;

/** A text cut for showing: [pieces of {text, marked}, whether something was left out]. Spans count code points. */
export function pieces(text, spans, isWhole) {
  const limit = isWhole ? MOST_CHARACTERS : SHOWN_CHARACTERS;
  const begin = isWhole ? 0 : firstShown(spans, limit);
  // Only what is shown is taken apart: a megabyte would take longer than a hand needs to move on.
  const first = unitOf(text, begin);
  const points = Array.from(text.slice(first, first + limit * 2)).slice(0, limit);
  const end = begin + points.length;
  const shown = (from, to) => points.slice(from - begin, to - begin).join("");
  const found = [];
  let at = begin;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const from = Math.min(Math.max(span.start, at), end);
    const to = Math.min(Math.max(span.end, from), end);
    if (from > at) found.push({ text: shown(at, from), marked: false });
    if (to > from) found.push({ text: shown(from, to), marked: true });
    at = Math.max(at, to);
  }
  if (at < end) found.push({ text: shown(at, end), marked: false });
  if (begin > 0) found.unshift({ text: "… ", marked: false });
  const isCut = begin > 0 || first + shown(begin, end).length < text.length;
  if (isCut) found.push({ text: " …", marked: false });
  return [found, isCut];
}

/** Where a code point begins, in UTF-16 units: of two units only those of a pair belong together. */
function unitOf(text, point) {
  let unit = 0;
  for (let passed = 0; passed < point && unit < text.length; passed++) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
  return unit;
}

function firstShown(spans, limit) {
  const first = Math.min(...spans.map((span) => span.start), Infinity);
  return first === Infinity || first < limit / 2 ? 0 : Math.max(0, first - 40);
}

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && size < 0.001 ? value.toExponential(1) : value.toFixed(size >= 100 ? 1 : digits);
}

export function dollars(value) {
  if (value === null || value === undefined) return null;
  return value === 0 ? "$0" : `$${value < 0.01 ? value.toPrecision(2) : value.toFixed(3)}`;
}

export function milliseconds(seconds) {
  return seconds < 10 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}
