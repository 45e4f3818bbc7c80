// The gateway's public interface. Addresses are relative, so that the page works below any path of a reverse proxy.

export class Refused extends Error {
  constructor(status, message, attempts) {
    super(message);
    this.status = status;
    this.attempts = attempts;
  }
}

/** The names that can be listed, and the default: {names, defaultModel}. */
export async function listModels(key) {
  const { body } = await send("v1/models", { headers: headersOf(key) });
  return { names: body.data.map((model) => model.id), defaultModel: body.default_model ?? null };
}

/** One ranking: {answer, seconds, degraded}. Throws Refused with the gateway's own sentence. */
export async function rank(request, key, signal) {
  const begun = performance.now();
  const { body, headers } = await send("v1/rerank", {
    method: "POST",
    headers: { ...headersOf(key), "content-type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  return {
    answer: body,
    seconds: (performance.now() - begun) / 1000,
    degraded: headers.get("x-gateway-degraded") === "true",
  };
}

/** What tells the gateway who asks. Throws Refused for what no header can carry, and so is no key. */
export function headersOf(key) {
  if (/[^\x20-\x7e]/.test(key)) throw new Refused(401, "This is no key of a gateway: it has characters that no key has.");
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function send(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Refused(0, "the gateway cannot be reached");
  }
  const body = await bodyOf(reply);
  if (reply.ok && body) return { body, headers: reply.headers };
  const message = reply.ok ? "what came is no answer of a gateway" : `HTTP ${reply.status}`;
  throw new Refused(reply.status, body?.message ?? message, body?.extra_fields?.attempts);
}

/** The JSON of a reply, and null for anything else. Throws Refused for one that was cut off. */
async function bodyOf(reply) {
  let text;
  try {
    text = await reply.text();
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Refused(0, "the answer was cut off");
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
