// The search page: what is typed, switched and turned becomes a request, and its answer becomes elements.

import { ask, ready, Refused, useToken } from "./server.js";
import { empty, fromHash, LONGEST_LINK, toHash } from "./state.js";
import { element, hitRow, Keys, latentRow, light, showEvidence } from "./view.js";

const FEW = 12;
const HITS = 10;
const GROUP = 3;
const at = (id) => document.getElementById(id);
let state = fromHash(location.hash);
let facts = null;
let answer = null;
let all = false;
let version = null;
let running = new AbortController();
let timer = null;

function body() {
  const { query, steer, queryTopK, documentTopK } = state;
  return { query, k: HITS, steer, query_top_k: queryTopK, document_top_k: documentTopK };
}

function say(message) {
  at("status").textContent = message;
}

function fail(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  at("token-form").hidden = error.status !== 401;
  at("alert").textContent = error.status === 401 ? "The server asks for its token." : error.message;
  say("");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// What makes a shorter pause than typing and turning do is one request.
function soon() {
  clearTimeout(timer);
  timer = setTimeout(search, 120);
}

async function search() {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  remember();
  if (!state.query.trim()) {
    at("panel").hidden = at("found").hidden = true;
    say("");
    return;
  }
  try {
    await modelReady(signal);
    if (facts === null) await loadFacts(signal);
    say("Searching ...");
    const found = await (await ask("search", { ...body(), words: state.words }, signal)).json();
    at("alert").textContent = "";
    at("token-form").hidden = true;
    show(found);
    await explainHits(found, signal);
  } catch (error) {
    if (error.status === 409 && error.message.startsWith("the index was replaced")) soon();
    else fail(error);
  }
}

async function modelReady(signal) {
  for (let loaded = await ready(); loaded !== true; loaded = await ready()) {
    if (loaded === null) throw new Refused(0, "The server does not answer; is it still running?", null);
    say("The model is still being loaded; the search starts by itself.");
    await pause(500);
    signal.throwIfAborted();
  }
}

async function loadFacts(signal) {
  facts = await (await ask("index", undefined, signal)).json();
  at("facts").textContent = `${facts.documents.toLocaleString("en")} documents in ${facts.location}, ${facts.model}`;
  slider("query-budget", facts.query_top_k ?? 256, state.queryTopK, true);
  slider("document-budget", facts.document_top_k ?? 1, state.documentTopK, facts.document_budget);
  at("words").disabled = !facts.words;
  at("words").checked = state.words = state.words && facts.words;
  at("words-note").textContent = facts.words ? "" : "(needs an index with texts, or --corpus; outside OpenSearch, of at most 200,000 documents)";
}

function slider(id, most, value, works) {
  at(id).max = most;
  at(id).value = value ?? most;
  at(id).disabled = !works;
}

function show(found) {
  answer = found;
  tell(null);
  const keys = new Keys(found.latents);
  at("panel").hidden = at("found").hidden = false;
  const notes = [...found.notes];
  if (version !== null && version !== found.version) {
    notes.push("The index was replaced while this page was open; these are the documents of the new one.");
    facts = null;
  }
  version = found.version;
  at("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
  showLatents(found, keys);
  const { cost, hits } = found;
  say(`${hits.length ? `The ${hits.length} best` : "No"} documents, in ${cost.milliseconds} ms.`);
  const number = (value) => value.toLocaleString("en");
  const read = cost.postings === null ? "" : `, ${number(cost.postings)} impacts read`;
  at("query-cost").textContent = `${cost.query_latents} latents asked${read}, ${cost.milliseconds} ms`;
  const kept = state.documentTopK ?? facts?.document_top_k ?? "all";
  const size = cost.impacts === null ? "" : `: ${number(cost.impacts)} impacts in the index`;
  const share = cost.impacts !== null && facts?.impacts ? `, ${Math.round((100 * cost.impacts) / facts.impacts)} %` : "";
  at("document-cost").textContent = facts && !facts.document_budget
    ? `${kept}${size}; this engine shows fewer only after indexing anew`
    : `${kept}${size}${share}`;
  at("hits").replaceChildren(...hits.map((hit, place) => hitRow(hit, place + 1)));
  at("words-list").hidden = found.words === null;
  at("word-hits").replaceChildren(...(found.words ?? []).map((hit, place) => hitRow(hit, place + 1, { byWords: true })));
  at("export").disabled = !hits.length;
}

function showLatents(found, keys) {
  const focused = document.activeElement?.closest(".latent");
  const kind = document.activeElement?.type;
  const shown = found.latents.filter((each, place) => all || place < FEW || each.term in state.steer);
  const rows = shown.map((each) => latentRow(each, keys, { value: state.steer[each.term], onChange: turn, onLight: light }));
  at("latents").replaceChildren(...rows);
  // A row that is made anew must not lose the keyboard.
  if (focused) at("latents").querySelector(`[data-term="${CSS.escape(focused.dataset.term)}"] [type=${kind}]`)?.focus();
  at("more").hidden = found.latents.length <= FEW;
  at("more").textContent = all ? "Show fewer" : `Show all ${found.latents.length}`;
}

function turn(term, value) {
  if (value === undefined || value === 1) delete state.steer[term];
  else state.steer[term] = value;
  soon();
}

// In small groups, so that the first can be read while the last are explained.
async function explainHits(found, signal) {
  const keys = new Keys(found.latents);
  for (let start = 0; start < found.hits.length; start += start ? GROUP : 1) {
    const docids = found.hits.slice(start, start + (start ? GROUP : 1)).map((hit) => hit.docid);
    const row = (docid) => at("hits").querySelector(`[data-docid="${CSS.escape(docid)}"]`);
    try {
      const told = await (await ask("explain", { ...body(), docids, top: 24, version: found.version }, signal)).json();
      for (const each of told) showEvidence(row(each.docid), each, keys);
    } catch (error) {
      if (error.status !== 422) throw error;
      for (const docid of docids) row(docid).append(element("p", { className: "soft", textContent: error.message }));
    }
  }
  at("hits").dataset.explained = found.hits.length;
}

// The latents of a word that the pointer or a finger is on.
function tell(word) {
  for (const other of document.querySelectorAll(".lit")) other.classList.remove("lit");
  at("told").hidden = !word;
  at("told").textContent = word?.dataset.told ?? "";
  if (word) light(word.dataset.terms.split(" ")[0], true);
}

function remember() {
  at("hits").dataset.explained = "";
  const hash = toHash(state);
  const fits = hash.length <= LONGEST_LINK;
  at("link").disabled = !fits;
  at("link").textContent = fits ? "Copy link" : "Too long for a link";
  history.replaceState(null, "", fits && hash ? `#${hash}` : location.pathname);
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (at("query").value !== state.query) state.steer = {};
  state.query = at("query").value;
  search();
});
at("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("search").requestSubmit();
  }
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value.trim());
  search();
});
for (const [id, name] of [["query-budget", "queryTopK"], ["document-budget", "documentTopK"]]) {
  at(id).addEventListener("input", () => {
    state[name] = at(id).value === at(id).max ? null : Number(at(id).value);
    soon();
  });
}
at("words").addEventListener("change", () => {
  state.words = at("words").checked;
  search();
});
at("more").addEventListener("click", () => {
  all = !all;
  showLatents(answer, new Keys(answer.latents));
});
at("reset").addEventListener("click", () => {
  state = { ...empty(), query: state.query, words: state.words };
  for (const id of ["query-budget", "document-budget"]) at(id).value = at(id).max;
  search();
});
at("link").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied.");
  } catch {
    say("The link is the address of this page.");
  }
});
at("export").addEventListener("click", async () => {
  try {
    say("Making the explanation ...");
    const page = await (await ask("explanation.html", { ...body(), docids: answer.hits.map((hit) => hit.docid), version })).blob();
    const link = element("a", { href: URL.createObjectURL(page), download: "explanation.html" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("The explanation is saved as explanation.html.");
  } catch (error) {
    fail(error);
  }
});
for (const type of ["mouseover", "click"]) {
  at("hits").addEventListener(type, (event) => tell(event.target.closest(".word")));
}
at("hits").addEventListener("mouseleave", () => tell(null));
window.addEventListener("hashchange", () => {
  state = fromHash(location.hash);
  at("query").value = state.query;
  facts = null;
  search();
});

if (matchMedia("(max-width: 52rem)").matches) at("latents-box").open = false;
at("query").value = state.query;
search();
