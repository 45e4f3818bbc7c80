// The same request in other people's languages. Each runs as it is copied.

const KEY = "RERANK_GATEWAY_KEY";

export const SNIPPETS = { curl, Python: python, JavaScript: javascript, Fallbacks: fallbacks, Fusion: fusion };

/** The body is a here-document: a shell takes any length and any character of it, and JSON is one line. */
function curl({ url, request, hasKey }) {
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  return `curl -sS '${url.replaceAll("'", "%27")}' \\\n  -H 'Content-Type: application/json'${key} \\\n  -d @- <<'JSON'\n${JSON.stringify(request)}\nJSON\n`;
}

function python({ url, request, hasKey }) {
  const headers = hasKey ? `\n    headers={"Authorization": f"Bearer {os.environ['${KEY}']}"},` : "";
  return `import json
${hasKey ? "import os\n" : ""}
import httpx

request = json.loads(r"""${JSON.stringify(request)}""")
answer = httpx.post(
    ${JSON.stringify(url)},
    json=request,${headers}
    timeout=60,
)
answer.raise_for_status()
for result in answer.json()["results"]:
    print(result["index"], result["relevance_score"])
`;
}

function javascript({ url, request, hasKey }) {
  const key = hasKey ? `\n    authorization: \`Bearer \${process.env.${KEY}}\`,` : "";
  return `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "content-type": "application/json",${key}
  },
  body: JSON.stringify(${JSON.stringify(request, null, 2).replaceAll("\n", "\n  ")}),
});
if (!answer.ok) throw new Error((await answer.json()).message);
for (const { index, relevance_score } of (await answer.json()).results) {
  console.log(index, relevance_score);
}
`;
}

/** In the gateway's configuration: the first model, and the others where it fails. */
function fallbacks({ targets }) {
  const [first = "provider/model", ...others] = unique(targets);
  const after = others.length ? `\n    fallbacks: ${list(others)}` : "";
  return `models:\n  search:\n    target: ${JSON.stringify(first)}${after}\n`;
}

/** In the gateway's configuration: all of the models as one. */
function fusion({ models }) {
  if (models.length < 2) return "# Fusion takes two models or more: add one on the page.\n";
  return `models:\n  search:\n    fuse: ${list(models)}\n`;
}

function unique(names) {
  return [...new Set(names)];
}

/** A list of strings in JSON is one in YAML. */
function list(names) {
  return `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
}
