// A stream of server-sent events over fetch: EventSource cannot send a key.

import { Refused, headersOf } from "./api.js";

const SILENCE_SECONDS = 15;
/* A stream that says nothing for so long is taken for dead: a network may lose a connection without a word. */

/** Calls `take` with each event's data until `signal` ends it. Throws Refused. */
export async function follow(path, key, signal, take) {
  const silence = new AbortController();
  const ends = AbortSignal.any([signal, silence.signal]);
  const refusal = () => new Refused(0, silence.signal.aborted ? "the gateway has fallen silent" : "the gateway cannot be reached");
  let timer;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_SECONDS * 1000);
  };
  try {
    const headers = headersOf(key);
    listen();
    const reply = await fetch(path, { headers, signal: ends }).catch(() => { throw refusal(); });
    if (!reply.ok) throw new Refused(reply.status, (await reply.json().catch(() => null))?.message ?? `HTTP ${reply.status}`);
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read().catch(() => { throw refusal(); });
      if (done) return;
      listen();
      const events = (rest + value).split(/\r?\n\r?\n/);
      rest = events.pop();
      events.map(dataOf).filter(Boolean).forEach((data) => take(JSON.parse(data)));
    }
  } finally {
    clearTimeout(timer);
  }
}

function dataOf(event) {
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5)).join("\n");
}
