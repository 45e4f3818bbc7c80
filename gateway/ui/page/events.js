// A stream of server-sent events over fetch: EventSource cannot send a key.

/** Calls `take` with each event's data until `signal` ends it. Throws {status, message} for a refusal. */
export async function follow(path, key, signal, take) {
  const reply = await fetch(path, { headers: key ? { authorization: `Bearer ${key}` } : {}, signal });
  if (!reply.ok) throw { status: reply.status, message: (await reply.json().catch(() => null))?.message ?? `HTTP ${reply.status}` };
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) take(JSON.parse(lines.map((line) => line.slice(5)).join("\n")));
    }
  }
}
