// Client packages for Node against a running gateway; tests/clients/run.py starts both.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { createCohere } from "@ai-sdk/cohere";
import { APICallError, rerank } from "ai";
import { CohereClient, CohereClientV2, CohereError } from "cohere-ai";
import { VoyageAIClient, VoyageAIError } from "voyageai";

const URL = process.env.RERANK_GATEWAY_URL;
const KEY = process.env.RERANK_GATEWAY_KEY;
const MODEL = "local/all-minilm-l6-v2";
// What docs/clients.md asks for.
const DOCUMENTED_MODEL = "local/ms-marco-minilm-l12";
const QUERY = "What is the capital of France?";
const DOCUMENTS = [
  "Horses and cows are both animals.",
  "The capital of Brazil is Brasilia.",
  "The capital of France is Paris.",
];
const ORDER = [2, 1, 0];
const PAGE = readFileSync(new globalThis.URL("../../../docs/clients.md", import.meta.url), "utf8");

// A snippet of docs/clients.md, for this gateway and a key.
function snippet(name, key) {
  const text = PAGE.match(new RegExp("^```js " + name + "\\n(.*?)\\n```$", "ms"))[1];
  return text.replaceAll("http://localhost:8080", URL).replaceAll("KEY", key).replaceAll(DOCUMENTED_MODEL, MODEL);
}

// The object that a snippet makes in its paragraph after the imports.
function documented(name, constructors, key) {
  const meant = snippet(name, key).split("\n\n")[1];
  const variable = meant.match(/^const (\w+)/)[1];
  return new Function(...Object.keys(constructors), `${meant}; return ${variable};`)(...Object.values(constructors));
}

// Each: (what is asked, key) → [{index, score, text?}]; how an unknown model, a missing query and a wrong key are told.
const CLIENTS = {
  CohereClient: {
    async rank(asked, key) {
      const client = documented("cohere-js", { CohereClient }, key);
      const { topN, ...rest } = asked;
      const answer = await client.rerank({ ...rest, topN, returnDocuments: true });
      return answer.results.map((row) => ({ index: row.index, score: row.relevanceScore, text: row.document?.text }));
    },
    echoes: true,
    refused: (error, status) => error instanceof CohereError && error.statusCode === status,
  },
  CohereClientV2: {
    async rank(asked, key) {
      const client = documented("cohere-js-v2", { CohereClientV2 }, key);
      const answer = await client.rerank(asked);
      return answer.results.map((row) => ({ index: row.index, score: row.relevanceScore }));
    },
    refused: (error, status) => error instanceof CohereError && error.statusCode === status,
  },
  "ai + @ai-sdk/cohere": {
    async rank({ model, query, documents, topN }, key) {
      const cohere = documented("ai-sdk", { createCohere }, key);
      const answer = await rerank({ model: cohere.reranking(model), query, documents, topN, maxRetries: 0 });
      return answer.ranking.map((row) => ({ index: row.originalIndex, score: row.score, text: row.document }));
    },
    echoes: true,
    refused: (error, status) => APICallError.isInstance(error) && error.statusCode === status && error.message.length > 12,
  },
  VoyageAIClient: {
    async rank({ topN, ...rest }, key) {
      const client = documented("voyageai-js", { VoyageAIClient }, key);
      const answer = await client.rerank({ ...rest, topK: topN, returnDocuments: true });
      return answer.data.map((row) => ({ index: row.index, score: row.relevanceScore, text: row.document }));
    },
    echoes: true,
    refused: (error, status) => error instanceof VoyageAIError && error.statusCode === status,
  },
};

const ASKED = { model: MODEL, query: QUERY, documents: DOCUMENTS };
const REFUSED = {
  "an unknown model": [{ ...ASKED, model: "nope/none" }, KEY, 404],
  "a missing query": [{ ...ASKED, query: "" }, KEY, 400],
  "a wrong key": [ASKED, "wrong", 401],
};

for (const [name, client] of Object.entries(CLIENTS)) {
  test(`${name}: best first`, async () => {
    const rows = await client.rank(ASKED, KEY);
    assert.deepEqual(rows.map((row) => row.index), ORDER);
    assert.ok(rows[0].score > rows[1].score && rows[1].score >= rows[2].score);
  });
  test(`${name}: no more than asked for`, async () => {
    const rows = await client.rank({ ...ASKED, topN: 2 }, KEY);
    assert.deepEqual(rows.map((row) => row.index), ORDER.slice(0, 2));
  });
  test(`${name}: documents come back`, { skip: !client.echoes }, async () => {
    const rows = await client.rank(ASKED, KEY);
    assert.deepEqual(rows.map((row) => row.text), ORDER.map((index) => DOCUMENTS[index]));
  });
  for (const [what, [asked, key, status]] of Object.entries(REFUSED)) {
    test(`${name}: ${what} is the client's own error`, async () => {
      await assert.rejects(client.rank(asked, key), (error) => {
        assert.ok(client.refused(error, status), `${error.constructor.name}: ${error.message}`);
        return true;
      });
    });
  }
}

test("ai + @ai-sdk/cohere: objects as documents", async () => {
  const cohere = documented("ai-sdk", { createCohere }, KEY);
  const documents = DOCUMENTS.map((text) => ({ text }));
  const answer = await rerank({ model: cohere.reranking(MODEL), query: QUERY, documents, topN: 1 });
  assert.deepEqual(answer.rerankedDocuments, [documents[2]]);
});

for (const name of PAGE.matchAll(/^```js (\S+)$/gm)) {
  test(`the snippet ${name[1]} works as it is written`, () => {
    const file = new globalThis.URL(`./snippet-${name[1]}.mjs`, import.meta.url);
    writeFileSync(file, snippet(name[1], KEY));
    try {
      const printed = execFileSync(process.execPath, [file.pathname], { encoding: "utf8", timeout: 60_000 });
      assert.match(printed, /^1 \d+\.\d+\n$/);
    } finally {
      rmSync(file);
    }
  });
}
