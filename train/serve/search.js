// SPDX-License-Identifier: Apache-2.0
// The page of --serve: asks the API (docs/serve.md) and shows what it answers. What comes from there is set
// as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);

/** An element with a class, and children: elements or text. */
function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// ---- asking --------------------------------------------------------------------------------

let about = null;
let asking = null; // what aborts the question that is asked
let last = null; // asks it again, for so many answers
let shown = []; // ids of the images that were found, in their order

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (wrong) {
    if (wrong.name === "AbortError") throw wrong;
    throw new Error("The server does not answer. Is it still running?");
  }
  let data = null;
  try {
    data = await answer.json();
  } catch {
    throw new Error(`The server answered with status ${answer.status}.`);
  }
  if (!answer.ok) throw new Error(data.error || `status ${answer.status}`);
  return data;
}

function say(text, wrong) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", Boolean(wrong));
}

/** Shows what `question` answers, unless another one is asked meanwhile. */
async function show(question, top) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  $("found").classList.add("busy");
  $("found").setAttribute("aria-busy", "true");
  say("Searching...");
  try {
    await question(top, mine.signal);
    last = { question, top };
  } catch (wrong) {
    if (mine.signal.aborted) return;
    forget();
    say(wrong.message, true);
  }
  if (asking === mine) rest();
}

function rest() {
  asking = null;
  $("found").classList.remove("busy");
  $("found").removeAttribute("aria-busy");
}

function forget() {
  $("asked").hidden = true;
  $("asked").replaceChildren();
  $("found").replaceChildren();
  $("more").hidden = true;
}

function searchSentence(sentence) {
  return async (top, signal) => {
    const answer = await ask(`/api/search?q=${encodeURIComponent(sentence)}&top=${top}`, { signal });
    $("asked").replaceChildren(...words(answer));
    $("asked").hidden = false;
    showFound([["Images", answer.images, card]], top);
    sayUnknown(answer);
  };
}

function searchPicture(file) {
  return async (top, signal) => {
    if (!about) about = await ask("/api/about", { signal });
    if (!about.search_image) throw new Error("This model reads features, not pictures: it can be asked sentences alone.");
    if (file.size > about.most_bytes) throw new Error(`The picture has ${Math.ceil(file.size / 2 ** 20)} MiB, expected ${about.most_bytes / 2 ** 20} at most.`);
    const body = await file.arrayBuffer().catch(() => {
      throw new Error(`${file.name} cannot be read. Is it a folder?`);
    });
    const answer = await ask(`/api/search-image?top=${top}`, { method: "POST", body, signal });
    const url = URL.createObjectURL(file);
    $("asked").replaceChildren(looked(url, file.name || "the picture", answer.attention, () => URL.revokeObjectURL(url)));
    $("asked").hidden = false;
    showFound([["Images like it", answer.images, card], ["Captions that fit it", answer.captions, line]], top);
    say("");
  };
}

function sayUnknown(answer) {
  const inner = answer.words.length - 2;
  const names = answer.unknown.map((word) => `"${word}"`).join(", ");
  if (!answer.unknown.length) say("");
  else if (answer.unknown.length >= inner) say(`The model knows none of these words: ${names}. The order below means nothing.`, true);
  else say(`The model does not know ${names}.`, true);
}

// ---- what was found ------------------------------------------------------------------------

const nameOf = (image) => image.caption || `image ${image.image} of ${image.split}`;

function showFound(parts, top) {
  shown = [];
  const sections = [];
  let most = 0;
  for (const [heading, answers, draw] of parts) {
    if (!answers.length) continue;
    most = Math.max(most, answers.length);
    const list = make("ul", draw === card ? "grid" : "lines", ...answers.map((answer) => make("li", "", draw(answer))));
    sections.push(make("section", "", make("h2", "", heading), list));
    if (draw === card) shown = answers.map((answer) => answer.id);
  }
  $("found").replaceChildren(...sections);
  $("more").hidden = most < top || !about || top >= about.most_top;
}

function opener(answer, ...inside) {
  const button = make("button", "card", ...inside);
  button.type = "button";
  const place = answer.caption ? `, image ${answer.image} of ${answer.split}` : "";
  button.setAttribute("aria-label", `${nameOf(answer)}, score ${answer.score.toFixed(4)}${place}`);
  button.addEventListener("click", () => openCloser(answer.id));
  return button;
}

function scored(answer) {
  return make("b", "", answer.score.toFixed(4), make("small", "", answer.split.split("/").pop() + " " + answer.image));
}

function card(answer) {
  const text = make("p", "", scored(answer));
  let picture = make("span", "blank", nameOf(answer));
  if (answer.url) {
    picture = make("img");
    picture.loading = "lazy";
    picture.alt = ""; // the button says it
    picture.addEventListener("error", () => picture.replaceWith(make("span", "blank", "The picture cannot be read.")));
    picture.src = `${answer.url}?side=320`;
    if (answer.caption) text.append(answer.caption);
  }
  return opener(answer, picture, text);
}

const line = (answer) => opener(answer, make("p", "", scored(answer), answer.caption));

// ---- attention -----------------------------------------------------------------------------

const range = (weights) => [Math.min(...weights), Math.max(...weights)];
const short = (value) => String(Number(value.toPrecision(3)));
/** Whether weights between these can be told from each other. */
const differ = (least, most) => short(least) !== short(most);
/** "10.2 to 11.5", or "11.5 everywhere". */
const span = ([least, most]) => (differ(least, most) ? `${short(least)} to ${short(most)}` : `${short(least)} everywhere`);

/** Bars over each word or region, a colour a head. */
function steps(names, attention, isUnknown) {
  const heads = attention ? attention.weights : [];
  const ranges = heads.map(range);
  const list = make("ol");
  names.forEach((name, step) => {
    const bars = make("span", heads.length ? "bars" : "");
    heads.forEach((weights, head) => {
      const most = Math.max(...ranges[head].map(Math.abs)), bar = make("i", `c${head % 8}`);
      bar.style.height = `${most > 0 ? (300 * Math.abs(weights[step])) / most / 100 : 0}rem`;
      bar.title = `head ${head + 1}: ${short(weights[step])}`;
      bars.append(bar);
    });
    list.append(make("li", isUnknown(name) ? "unknown" : "", bars, make("b", "", name)));
  });
  const caption = make("figcaption", "", attention ? `Attention of ${attention.module}` : "As the model reads it");
  ranges.forEach((ends, head) => caption.append(make("i", `c${head % 8}`), `head ${head + 1}: ${span(ends)}`));
  return make("figure", "steps", list, caption);
}

/** The words of a sentence as the model reads them; below each module's attention. */
function words(answer) {
  const unknown = new Set([...answer.unknown, "<unk>"]);
  const modules = answer.attention.length ? answer.attention : [null];
  return modules.map((attention) => steps(answer.words, attention, (word) => unknown.has(word)));
}

/** Shades what a head looks at: from its smallest weight, not at all, to its largest. */
function shade(over, attention, head) {
  over.querySelectorAll(".heat").forEach((box) => box.remove());
  if (!attention) return;
  const weights = attention.weights[head], [least, most] = range(weights);
  attention.boxes.forEach(([left, top, right, bottom], region) => {
    const box = make("span", "heat");
    box.style.left = `${100 * left}%`;
    box.style.top = `${100 * top}%`;
    box.style.width = `${100 * (right - left)}%`;
    box.style.height = `${100 * (bottom - top)}%`;
    box.style.opacity = differ(least, most) ? (0.75 * (weights[region] - least)) / (most - least) : 0;
    box.title = `region ${region + 1}: ${short(weights[region])}`;
    over.append(box);
  });
}

/** Buttons, of which one is pressed: what the picture is shaded by, and between which weights. At first the last head
    whose weights are not all one. */
function headButtons(over, drawn) {
  const row = make("div", "heads", "Attention: "), ends = make("span", "note");
  let first = null;
  const add = (name, attention, head) => {
    const button = make("button", "", name);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      row.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      shade(over, attention, head);
      ends.textContent = attention ? span(range(attention.weights[head])) : "";
    });
    row.append(button);
    return button;
  };
  const none = add("none", null, 0);
  for (const attention of drawn) {
    attention.weights.forEach((weights, head) => {
      const name = attention.weights.length > 1 ? `${attention.module} ${head + 1}` : attention.module;
      const button = add(name, attention, head), [least, most] = range(weights);
      if (!first || differ(least, most)) first = button;
    });
  }
  row.append(ends);
  (first || none).click();
  return row;
}

/** A small picture, so that its regions can be seen. */
function enlarge(picture) {
  const least = Math.min(320, window.innerHeight / 2), longer = Math.max(picture.naturalWidth, picture.naturalHeight);
  if (longer < least) picture.width = (picture.naturalWidth * least) / longer;
}

/** A picture, if there is one, and what the model looks at in it. */
function looked(url, name, attention = [], loaded = () => {}) {
  const view = make("div");
  const drawn = url ? attention.filter((one) => one.boxes) : [];
  if (url) {
    const over = make("div", "seen"), picture = make("img");
    picture.alt = name;
    picture.addEventListener("load", () => {
      if (drawn.length) enlarge(picture);
      loaded();
    });
    picture.addEventListener("error", () => over.replaceWith(make("p", "wrong", "The picture cannot be read.")));
    picture.src = url;
    over.append(picture);
    view.append(over);
    if (drawn.length) view.append(headButtons(over, drawn));
  }
  for (const one of attention) {
    if (drawn.includes(one)) continue;
    view.append(steps(one.weights[0].map((_, region) => String(region + 1)), one, () => false));
  }
  return view;
}

// ---- one image, closer ---------------------------------------------------------------------

let closer = -1; // its place among those shown; -1: it was found by a caption
let looking = null; // the id that was asked for last

async function openCloser(id) {
  closer = shown.indexOf(id);
  $("previous").disabled = closer < 1;
  $("next").disabled = closer < 0 || closer + 1 >= shown.length;
  $("closer-name").textContent = "...";
  $("closer-view").replaceChildren();
  $("closer-captions").replaceChildren();
  if (!$("closer").open) $("closer").showModal();
  looking = id;
  try {
    const image = await ask(`/api/images/${id}`);
    if (looking !== id) return;
    $("closer-name").textContent = `Image ${image.image} of ${image.split}`;
    $("closer-view").replaceChildren(looked(image.url && `${image.url}?side=1024`, image.captions[0] || "", image.attention));
    $("closer-captions").replaceChildren(...image.captions.map((caption) => make("li", "", caption)));
  } catch (wrong) {
    if (looking !== id) return;
    $("closer-name").textContent = "This image cannot be shown.";
    $("closer-view").replaceChildren(make("p", "wrong", wrong.message));
  }
}

function step(by) {
  if (closer >= 0 && shown[closer + by] !== undefined) openCloser(shown[closer + by]);
}

// ---- what is typed, chosen, dropped, pasted ------------------------------------------------

const firstTop = () => (about ? about.top : 10);

const sentenceInAddress = () => (new URLSearchParams(location.search).get("q") || "").trim();

function nameTab(sentence) {
  const run = about ? ` ${about.run.split("/").pop()}` : "";
  document.title = `${sentence ? `${sentence} - ` : ""}Search${run}`;
}

/** Puts a sentence, or none, into the address: what was asked before is a step back. */
function address(sentence) {
  const change = sentence === sentenceInAddress() ? "replaceState" : "pushState";
  history[change](null, "", sentence ? `?q=${encodeURIComponent(sentence)}` : location.pathname);
  nameTab(sentence);
}

function askSentence() {
  const sentence = $("sentence").value.trim();
  if (!sentence) return say("Type a sentence first.", true);
  address(sentence);
  show(searchSentence(sentence), firstTop());
}

function askPicture(file) {
  if (!file) return;
  $("sentence").value = "";
  address("");
  show(searchPicture(file), firstTop());
}

/** Asks what stands in the address; without a sentence the page is as at first. */
function askAddress() {
  if ($("closer").open) $("closer").close();
  const sentence = ($("sentence").value = sentenceInAddress());
  nameTab(sentence);
  if (sentence) return show(searchSentence(sentence), firstTop());
  if (asking) asking.abort();
  rest();
  forget();
  say("Type what a picture shows, and press Enter.");
}

function pictureOf(transfer) {
  return [...(transfer ? transfer.files : [])][0];
}

function listen() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    askSentence();
  });
  $("picture").addEventListener("change", () => {
    askPicture($("picture").files[0]);
    $("picture").value = "";
  });
  $("more").addEventListener("click", () => last && show(last.question, Math.min(2 * last.top, about.most_top)));
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("closer").addEventListener("click", (event) => event.target === $("closer") && $("closer").close());
  $("closer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  window.addEventListener("popstate", askAddress);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || $("closer").open || event.target.matches("input")) return;
    event.preventDefault();
    $("sentence").select();
  });
  document.addEventListener("paste", (event) => askPicture(pictureOf(event.clipboardData)));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("dropping").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("dropping").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("dropping").hidden = true;
    const file = pictureOf(event.dataTransfer);
    if (file) askPicture(file);
    else say("That is no file of a picture.", true);
  });
}

async function begin() {
  listen();
  try {
    about = await ask("/api/about");
  } catch (wrong) {
    return say(wrong.message, true);
  }
  const splits = about.splits.map((split) => `${split.split} ${split.images.toLocaleString("en")}`).join(", ");
  $("about").textContent = `${about.run}: ${about.images.toLocaleString("en")} images (${splits})`;
  $("choose").hidden = !about.search_image;
  if (sentenceInAddress()) return askAddress();
  nameTab("");
  if (!asking && !last) say("Type what a picture shows, and press Enter."); // else something was asked meanwhile
}

begin();
