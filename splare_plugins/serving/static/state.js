// What a page shows, in the part of its address behind "#", which is not sent to the server.

export const LONGEST_LINK = 8000;

export function empty() {
  return { query: "", steer: {}, queryTopK: null, documentTopK: null, words: false };
}

export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = empty();
  state.query = given.get("q") ?? "";
  for (const pair of (given.get("steer") ?? "").split(",").filter(Boolean)) {
    const [term, value = ""] = pair.split("=");
    // What cannot be is sent as it is, so that the server says what is wrong with it.
    state.steer[term] = value.startsWith("@") || value.trim() === "" || Number.isNaN(Number(value)) ? value : Number(value);
  }
  state.queryTopK = count(given.get("query"));
  state.documentTopK = count(given.get("document"));
  state.words = given.get("words") === "1";
  return state;
}

export function toHash(state) {
  const given = new URLSearchParams();
  if (state.query) given.set("q", state.query);
  const steered = Object.entries(state.steer).map(([term, value]) => `${term}=${value}`);
  if (steered.length) given.set("steer", steered.join(","));
  if (state.queryTopK) given.set("query", state.queryTopK);
  if (state.documentTopK) given.set("document", state.documentTopK);
  if (state.words) given.set("words", "1");
  return given.toString();
}

function count(text) {
  return /^[1-9]\d{0,6}$/.test(text ?? "") ? Number(text) : null;
}
