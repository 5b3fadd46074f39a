// Elements of the page. Whatever comes from the server is put in as text, never as markup.

// Okabe and Ito's, which people who are colour-blind tell apart; the latents after them share one.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a600"];
const OTHERS = "#8a8f98";

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "colour") made.style.setProperty("--c", value);
    else if (name === "strength") made.style.setProperty("--s", value);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("aria")) made.setAttribute(name.replace("aria", "aria-").toLowerCase(), value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// Number and colour of each latent of a query, by its impact before steering, so that neither changes while one steers.
export class Keys {
  constructor(latents) {
    this.places = new Map(latents.map((each, place) => [each.term, place]));
  }
  colour(term) {
    return COLOURS[this.places.get(term)] ?? OTHERS;
  }
  chip(term) {
    const place = this.places.get(term);
    return element("span", { className: "key", colour: this.colour(term), textContent: place === undefined ? "·" : place + 1 });
  }
}

export function called(latent) {
  return latent.name === latent.term ? latent.term : `${latent.term} ${latent.name}`;
}

export function latentRow(latent, keys, { value, onChange, onLight }) {
  const name = called(latent);
  const put = typeof value === "string";
  const factor = put ? 1 : value ?? 1;
  const words = [...new Set(latent.words.map((each) => each.word).filter(Boolean))].slice(0, 4).join(", ");
  const on = element("input", { type: "checkbox", checked: put || factor > 0, ariaLabel: `${name} on` });
  const range = element("input", { type: "range", min: 0, max: 3, step: 0.25, value: factor, disabled: put, ariaLabel: `factor of ${name}` });
  const shown = element("span", { className: "factor", textContent: put ? value : `x ${factor}` });
  const bar = element("span", { className: "bar", colour: keys.colour(latent.term), strength: Math.min(1, latent.steered / 255) });
  const label = element("span", { className: "name" }, keys.chip(latent.term), element("bdi", { textContent: name }));
  if (words) label.append(element("span", { className: "soft" }, " ", element("bdi", { textContent: words })));
  const row = element("li", { className: "latent", data: { term: latent.term } }, on, label, range, shown, bar);
  row.classList.toggle("off", latent.steered === 0);
  on.addEventListener("change", () => onChange(latent.term, put ? undefined : on.checked ? 1 : 0));
  range.addEventListener("input", () => {
    shown.textContent = `x ${range.value}`;
    onChange(latent.term, Number(range.value));
  });
  for (const [event, lit] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
    row.addEventListener(event, () => onLight(latent.term, lit));
  }
  return row;
}

export function hitRow(hit, place, { byWords = false } = {}) {
  const score = byWords ? hit.score.toFixed(2) : hit.score.toLocaleString("en");
  const head = element("h3", {}, `${place}. `, element("bdi", { textContent: hit.docid }), element("span", { className: "soft", textContent: `  ${score}` }));
  const row = element("li", { className: "hit", data: { docid: hit.docid } }, head);
  if (hit.text === null) {
    row.append(element("p", { className: "soft", textContent: "The index keeps no text of this document." }));
    return row;
  }
  const text = element("p", { className: "text", dir: "auto", textContent: hit.text });
  row.append(text);
  if (hit.text.length > 420) {
    const whole = element("button", { type: "button", textContent: "Show all of it", ariaExpanded: "false" });
    whole.addEventListener("click", () => {
      const open = text.classList.toggle("whole");
      whole.setAttribute("aria-expanded", open);
      whole.textContent = open ? "Show less" : "Show all of it";
    });
    row.append(whole);
  }
  return row;
}

// The evidence in a hit: its text with marked words, and the latents that made its score.
export function showEvidence(row, told, keys) {
  const text = row.querySelector(".text");
  if (text && told.document !== null) text.replaceChildren(...marked(told.document, told.matches, keys));
  row.querySelector(".why")?.remove();
  const why = told.matches.slice(0, 4).map((match) => {
    const word = match.document_words.find((each) => each.word)?.word;
    const share = ` ${Math.round(100 * match.share)} %`;
    return element("li", {}, keys.chip(match.term), element("bdi", { textContent: called(match) }), share, word ? element("bdi", { className: "soft", textContent: ` ${word}` }) : "");
  });
  row.append(element("ul", { className: "why" }, ...why));
  for (const note of told.notes) {
    if (told.document === null) row.append(element("p", { className: "soft", textContent: note }));
  }
}

function marked(text, matches, keys) {
  // Offsets count characters; JavaScript's strings count halves of some.
  const characters = [...text];
  const byWord = new Map();
  const count = new Set(matches.flatMap((match) => match.document_words.map((each) => each.start))).size;
  for (const match of matches) {
    // One that fires everywhere says little about a word, so what counts is how far it is above its average.
    const average = match.document_words.reduce((sum, each) => sum + each.strength, 0) / Math.max(count, 1);
    for (const each of match.document_words) {
      if (!each.word) continue;
      const found = byWord.get(each.start) ?? { ...each, terms: [] };
      found.terms.push({ worth: (each.strength - average) * match.contribution, strength: each.strength, match });
      byWord.set(each.start, found);
    }
  }
  const parts = [];
  let done = 0;
  for (const word of [...byWord.values()].sort((one, other) => one.start - other.start)) {
    if (word.start < done) continue;
    word.terms.sort((one, other) => other.worth - one.worth);
    const best = word.terms[0];
    const told = word.terms.map((each) => `${called(each.match)}: ${Math.round(100 * each.strength)} % of its peak`).join("\n");
    const terms = word.terms.map((each) => each.match.term).join(" ");
    parts.push(characters.slice(done, word.start).join(""));
    parts.push(element("span", {
      className: "word", data: { terms, told }, colour: keys.colour(best.match.term), strength: best.strength ** 2,
      textContent: characters.slice(word.start, word.end).join(""),
    }));
    done = word.end;
  }
  parts.push(characters.slice(done).join(""));
  return parts;
}

// All words of a latent, and its row.
export function light(term, lit) {
  for (const word of document.querySelectorAll(".word")) {
    if (word.dataset.terms.split(" ").includes(term)) word.classList.toggle("lit", lit);
  }
  document.querySelector(`.latent[data-term="${CSS.escape(term)}"]`)?.classList.toggle("lit", lit);
}
