// The playground at `/`: a query and documents, and how up to four models sort them.

import { Form } from "./form.js";
import { Inspector, Results } from "./results.js";
import { begin, columns, follow, notice } from "./state.js";
import htm from "./htm/htm.module.js";
import { h, render } from "./preact/preact.module.js";
import { effect } from "./signals/signals-core.module.js";

const html = htm.bind(h);

function App() {
  return html`
    <a class="skip" href="#results">Skip to the results</a>
    <header>
      <h1><img src="ui/icon.svg" alt="" width="28" height="28" /> Rerank playground</h1>
      <nav aria-label="Elsewhere"><a href="docs">API</a></nav>
    </header>
    <main>
      <div><${Form} /></div>
      <section id="results" aria-label="Results" tabindex="-1">
        <p class="notice" role="status">${notice.value}</p>
        ${columns.value.length ? html`<${Results} />` : html`<p class="hint">Press Rank, or Ctrl + Enter, to see how each model sorts the documents.</p>`}
      </section>
    </main>
    <${Inspector} />
  `;
}

effect(() => render(html`<${App} />`, document.querySelector("#app")));
// A file that misses the field would replace the page, and all that is on it.
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
}
window.addEventListener("hashchange", follow);
begin();
