// From what a person pastes or drops to documents.

/** The documents in a text, and in which form it is: {form, documents}. */
export function parseDocuments(text, name = "") {
  if (!text.trim()) return { form: "nothing yet", documents: [] };
  return fromJson(text) ?? fromJsonLines(text) ?? (/\.[ct]sv$/i.test(name) ? fromTable(text, name) : fromText(text));
}

function fromJson(text) {
  if (!text.trimStart().startsWith("[")) return null;
  try {
    const documents = JSON.parse(text).map(textOf);
    return documents.every((one) => one !== null) ? { form: "JSON", documents } : null;
  } catch {
    return null;
  }
}

function fromJsonLines(text) {
  const lines = nonBlank(text.split(/\r?\n/));
  if (!lines.every((line) => /^\s*[{"]/.test(line))) return null;
  try {
    const documents = lines.map((line) => textOf(JSON.parse(line)));
    return documents.every((one) => one !== null) ? { form: "JSON lines", documents } : null;
  } catch {
    return null;
  }
}

function textOf(value) {
  if (typeof value === "string") return value;
  return typeof value?.text === "string" ? value.text : null;
}

function fromText(text) {
  const paragraphs = nonBlank(text.split(/\r?\n[ \t]*\r?\n/));
  if (paragraphs.length > 1) return { form: "paragraphs", documents: paragraphs.map((one) => one.trim()) };
  return { form: "lines", documents: nonBlank(text.split(/\r?\n/)).map((line) => line.trim()) };
}

function fromTable(text, name) {
  const [head, ...rows] = cells(text, /\.tsv$/i.test(name) ? "\t" : ",");
  const names = head.map((cell) => cell.trim());
  const column = names.length === 1 ? 0 : names.findIndex((one) => one.toLowerCase() === "text");
  const textOfRow = (row) => (column < 0 ? wholeRow(names, row) : (row[column] ?? ""));
  return { form: "table", documents: nonBlank(rows.map(textOfRow)) };
}

/** As the command line has it: where no column is called `text`, all of the row is ranked. */
function wholeRow(names, row) {
  const filled = names.map((name, at) => [name, row[at] ?? ""]).filter(([, cell]) => cell.trim());
  return filled.map(([name, cell]) => `${name}: ${cell}`).join("\n");
}

/** The cells of a table by RFC 4180, row by row. */
function cells(text, separator) {
  const rows = [[""]];
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    const row = rows[rows.length - 1];
    if (quoted) {
      if (char !== '"') row[row.length - 1] += char;
      else if (text[at + 1] === '"') row[row.length - 1] += text[++at];
      else quoted = false;
    } else if (char === '"' && row[row.length - 1] === "") quoted = true;
    else if (char === separator) row.push("");
    else if (char === "\n") rows.push([""]);
    else if (char !== "\r") row[row.length - 1] += char;
  }
  return rows;
}

function nonBlank(texts) {
  return texts.filter((text) => text.trim());
}
