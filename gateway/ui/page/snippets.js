// The same request in other people's languages. Each runs as it is copied.

const KEY = "RERANK_GATEWAY_KEY";

export const SNIPPETS = { curl, Python: python, JavaScript: javascript, Configuration: configuration };

function curl({ url, request, hasKey }) {
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  return `curl -sS ${quoted(url)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(request))}`;
}

/** For a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
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

function configuration({ targets }) {
  const [first, ...others] = targets.map((target) => JSON.stringify(target));
  const fallbacks = others.length ? `\n    fallbacks: [${others.join(", ")}]` : "";
  const members = [first, ...others].join(", ");
  const fused = others.length ? `\n  # All of them at once, as one ranking:\n  search-fused:\n    fuse: [${members}]` : "";
  return `models:\n  search:\n    target: ${first}${fallbacks}${fused}\n`;
}
