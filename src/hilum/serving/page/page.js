"use strict";
// Films stay in this page and in the answers to its requests; no request goes anywhere but to the service that sent the page.
const id = (name) => document.getElementById(name);
const films = [];      // {name, file, status, answer, pixels, width, height, view, heats, item}
let model = null, token = "", shown = [], running = 0, next = 0;
const AT_ONCE = 2, SMALL = 96;

function tell(text) { id("status").textContent = text; }

async function ask(path, body, more = {}) {
  const headers = token ? { Authorization: "Bearer " + token, ...more } : more;
  for (;;) {
    const answer = await fetch(path, body ? { method: "POST", body, headers } : { headers });
    const again = Number(answer.headers.get("Retry-After"));
    if ((answer.status === 429 || answer.status === 503) && again) {
      await new Promise((go) => setTimeout(go, 1000 * again));
      continue;
    }
    if (answer.status === 401) { id("login").hidden = false; id("token").focus(); }
    if (!answer.ok) {
      const error = await answer.json().catch(() => ({ error: { message: "The service failed." } }));
      throw new Error(error.error.message);
    }
    return answer;
  }
}

async function begin() {
  try {
    model = await (await ask("v1/model")).json();
    id("login").hidden = true;
    id("model").textContent = `${model.findings.length} findings · ${model.model.backbone} · model ${model.model.sha256.slice(0, 12)}`;
    id("reading").hidden = !model.verdicts;
    if (model.verdicts) id("keeps").textContent = "PNG, JPEG or DICOM; frontal and upright. Of a film on which you give a verdict "
      + (model.verdicts.films ? "your labels and a picture are kept; nothing else is." : "your labels are kept; nothing else is.");
    tell([...model.notes].join(" "));
  } catch (error) { tell(error.message); }
}

// ---- films come in ----
function add(files) {
  for (const file of files) {
    const film = { name: file.name || "pasted film", file, status: "waits", heats: new Map(), view: null };
    films.push(film);
    film.item = document.createElement("li");
    film.item.setAttribute("role", "option");
    film.item.tabIndex = -1;
    film.item.innerHTML = "<canvas aria-hidden='true'></canvas><div><b></b> <span class='quiet'></span></div>";
    film.item.querySelector("b").textContent = film.name;
    film.item.addEventListener("click", (event) => choose(film, event.ctrlKey || event.metaKey || event.shiftKey));
    id("list").append(film.item);
    mark(film);
  }
  id("tools").hidden = id("list").hidden = !films.length;
  if (!shown.length && films.length) choose(films[0]);
  while (running < AT_ONCE && next < films.length) work();
}

async function work() {
  running += 1;
  while (next < films.length) {
    const film = films[next++];
    film.status = "is read"; mark(film);
    await Promise.all([picture(film), predict(film)]);
    mark(film);
    if (shown.includes(film)) draw();
    tell(`${film.name}: ${film.item.querySelector("span").textContent}`);
  }
  running -= 1;
}

async function predict(film) {
  try {
    film.answer = await (await ask("v1/predictions", film.file)).json();
    film.status = film.answer.status;
  } catch (error) { film.status = "failed"; film.problem = error.message; }
}

async function picture(film) {
  try {
    const bitmap = await createImageBitmap(await (await ask("v1/renderings", film.file)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    film.pixels = new Uint8Array(rgba.length / 4);
    for (let i = 0; i < film.pixels.length; i++) film.pixels[i] = rgba[4 * i];
    film.width = bitmap.width; film.height = bitmap.height;
    const small = film.item.querySelector("canvas");
    small.width = small.height = SMALL;
    const factor = SMALL / Math.max(bitmap.width, bitmap.height), w = bitmap.width * factor, h = bitmap.height * factor;
    small.getContext("2d").drawImage(bitmap, (SMALL - w) / 2, (SMALL - h) / 2, w, h);
  } catch (error) { film.unseen = error.message; }
}

function mark(film) {
  const answer = film.answer;
  const text = film.status === "answered"
    ? (answer.called.length ? "called: " + answer.called.join(", ") : "nothing called")
    : film.status === "refused" ? "refused: " + answer.reason
    : film.status === "failed" ? film.problem : film.status;
  film.item.querySelector("span").textContent = text;
}

function choose(film, beside = false) {
  const two = id("compare").checked || beside;
  if (beside) id("compare").checked = true;
  shown = two && shown.length && shown.at(-1) !== film ? [shown.at(-1), film] : [film];
  for (const other of films) {
    other.item.setAttribute("aria-selected", String(shown.includes(other)));
    other.item.tabIndex = other === film ? 0 : -1;
  }
  draw();
}

// ---- what is shown ----
function draw() {
  const panes = id("panes");
  panes.classList.toggle("two", shown.length === 2);
  panes.replaceChildren(...shown.map(pane));
}

function pane(film) {
  const root = id("pane").content.cloneNode(true).firstElementChild, part = (name) => root.querySelector("." + name);
  root.querySelector("h2").textContent = film.name;
  root.setAttribute("aria-label", film.name);
  film.view ??= { window: 255, level: 128, zoom: 100, x: 0, y: 0, invert: false };
  const view = film.view, stage = part("stage"), layers = part("layers"), canvas = part("film"), heat = part("heat");
  stage.setAttribute("aria-label", `Film ${film.name}` + (film.unseen ? ", which cannot be shown" : ""));
  part("keys").id = "keys-" + films.indexOf(film);
  stage.setAttribute("aria-describedby", part("keys").id);
  const place = () => { layers.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom / 100})`; };
  const tone = () => { if (film.pixels) paint(film, canvas); };
  const sync = () => {
    for (const name of ["window", "level", "zoom"]) part(name).value = view[name];
    part("invert").setAttribute("aria-pressed", String(view.invert));
    place(); tone();
  };
  const zoom = (factor, x, y) => {   // about the point under the pointer
    const before = view.zoom; view.zoom = Math.min(800, Math.max(100, view.zoom * factor));
    const by = view.zoom / before; view.x = x - (x - view.x) * by; view.y = y - (y - view.y) * by;
    if (view.zoom === 100) view.x = view.y = 0;
    part("zoom").value = view.zoom; place();
  };
  const middle = () => [stage.clientWidth / 2, stage.clientHeight / 2];
  const limit = (value, low, high) => Math.min(high, Math.max(low, value));
  for (const name of ["window", "level"]) part(name).addEventListener("input", (event) => { view[name] = Number(event.target.value); tone(); });
  part("zoom").addEventListener("input", (event) => zoom(Number(event.target.value) / view.zoom, ...middle()));
  const invert = () => { view.invert = !view.invert; sync(); };
  const reset = () => { Object.assign(view, { window: 255, level: 128, zoom: 100, x: 0, y: 0, invert: false }); sync(); };
  part("invert").addEventListener("click", invert);
  part("reset").addEventListener("click", reset);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
  stage.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    if (event.shiftKey || event.buttons === 2) {
      view.window = limit(view.window + event.movementX, 2, 255); view.level = limit(view.level + event.movementY, 0, 255); sync();
    } else { view.x += event.movementX; view.y += event.movementY; place(); }
  });
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  const moves = {
    "+": () => zoom(1.25, ...middle()), "=": () => zoom(1.25, ...middle()), "-": () => zoom(0.8, ...middle()), 0: reset, i: invert,
    ArrowLeft: () => { view.x += 30; place(); }, ArrowRight: () => { view.x -= 30; place(); },
    ArrowUp: () => { view.y += 30; place(); }, ArrowDown: () => { view.y -= 30; place(); },
    w: () => { view.window = limit(view.window + 8, 2, 255); sync(); }, s: () => { view.window = limit(view.window - 8, 2, 255); sync(); },
    d: () => { view.level = limit(view.level + 8, 0, 255); sync(); }, a: () => { view.level = limit(view.level - 8, 0, 255); sync(); },
  };
  stage.addEventListener("keydown", (event) => {
    const move = moves[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); move();
  });
  sync();
  if (film.status === "refused" || film.status === "failed") {
    part("gate").hidden = false;
    part("gate").textContent = film.status === "refused"
      ? `Refused: ${film.answer.reason}. ${film.answer.message} No number is given.` : film.problem;
  }
  root.film = film;
  if (film.status === "answered") {
    findings(film, part, heat);
    if (model?.verdicts) verdictPart(film, root);
    if (model?.index) neighbours(film, part("near"));
  }
  return root;
}

function paint(film, canvas) {
  const { window: width, level, invert } = film.view, table = new Uint8ClampedArray(256);
  for (let grey = 0; grey < 256; grey++) {
    const value = 255 * ((grey - level) / width + 0.5);
    table[grey] = invert ? 255 - Math.min(255, Math.max(0, value)) : value;
  }
  canvas.width = film.width; canvas.height = film.height;
  const context = canvas.getContext("2d"), image = context.createImageData(film.width, film.height), out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i++) { const grey = table[film.pixels[i]]; out[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey; }
  context.putImageData(image, 0, 0);
}

function findings(film, part, heat) {
  const { probabilities, thresholds, called, not_called } = film.answer;
  part("findings").hidden = false;
  part("reading-head").hidden = !model?.verdicts;
  part("rest").textContent = `Thresholds: ${film.answer.thresholds_from}. Film ${film.answer.input.sha256.slice(0, 12)}, model ${film.answer.model.sha256.slice(0, 12)}.`;
  part("against").hidden = !(called.includes("No Finding") && called.length > 1);
  const body = part("findings").querySelector("tbody");
  for (const [name, value] of Object.entries(probabilities).sort((a, b) => b[1] - a[1])) {
    const row = body.insertRow(), threshold = thresholds[name], over = called.includes(name);
    row.className = over ? "called" : "";
    const head = document.createElement("th");
    head.scope = "row"; head.textContent = name;
    const tag = document.createElement("span");
    tag.className = over ? "tag" : "tag never";
    tag.textContent = over ? "called" : threshold === null ? "never called: " + (not_called[name] || "no threshold") : "";
    head.append(" ", tag); row.append(head);   // the space is for what reads aloud
    const cell = row.insertCell(), bar = document.createElement("div"), fill = document.createElement("i");
    bar.className = "bar"; bar.setAttribute("aria-hidden", "true"); fill.style.width = `${100 * value}%`; bar.append(fill);
    if (threshold !== null) { const line = document.createElement("u"); line.style.left = `${100 * threshold}%`; bar.append(line); }
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = value.toFixed(3) + (threshold === null ? "" : ` (threshold ${threshold.toFixed(3)})`);
    cell.append(bar, number);
    heatCell(film, name, row.insertCell(), heat);
    if (model?.verdicts) readings(film, name, row.insertCell());
    row.setAttribute("role", "row"); head.setAttribute("role", "rowheader");   // which the phone's layout would take away
    for (const one of row.cells) if (one !== head) one.setAttribute("role", "cell");
  }
}

function heatCell(film, name, cell, heat) {
  const button = document.createElement("button"), slider = document.createElement("input");
  button.type = "button"; button.textContent = "Show"; button.setAttribute("aria-label", `Show heatmap of ${name}`);
  slider.type = "range"; slider.min = 0; slider.max = 100; slider.setAttribute("aria-label", `Opacity of the heatmap of ${name}`);
  const state = film.heats.get(name) || { on: false, opacity: 60, bitmap: null };
  film.heats.set(name, state);
  const show = () => {
    button.setAttribute("aria-pressed", String(state.on));
    slider.hidden = !state.on; slider.value = state.opacity;
    overlay(film, heat);
  };
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy") === "true") return;
    state.on = !state.on;
    if (state.on && !state.bitmap) {
      button.setAttribute("aria-busy", "true");   // and not disabled, which would take the focus away
      try { state.bitmap = await createImageBitmap(await (await ask("v1/heatmaps?finding=" + encodeURIComponent(name), film.file)).blob()); }
      catch (error) { state.on = false; tell(error.message); }
      button.setAttribute("aria-busy", "false");
    }
    show();
    if (state.on) tell(`Heatmap of ${name} is shown. It is scaled to its own maximum: two maps do not compare in strength.`);
  });
  slider.addEventListener("input", () => { state.opacity = Number(slider.value); overlay(film, heat); });
  cell.append(button, slider); show();
}

function overlay(film, heat) {
  heat.width = film.width || 1; heat.height = film.height || 1;   // which clears it
  const context = heat.getContext("2d");
  for (const { on, opacity, bitmap } of film.heats.values()) {
    if (!on || !bitmap) continue;
    context.globalAlpha = opacity / 100;
    context.drawImage(bitmap, 0, 0, heat.width, heat.height);
  }
}

// ---- ways in ----
for (const button of document.querySelectorAll("#phantoms button")) button.addEventListener("click", async () => {
  const path = button.querySelector("img").getAttribute("src");
  try { add([new File([await (await ask(path)).blob()], button.getAttribute("aria-label"), { type: "image/png" })]); choose(films.at(-1)); }
  catch (error) { tell(error.message); }
});
id("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); id("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => id("drop").classList.remove("over"));
document.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) add(event.clipboardData.files); });
id("list").addEventListener("keydown", (event) => {
  const at = films.findIndex((film) => film.item === document.activeElement);
  const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: films.length - 1 }[event.key];
  if (at < 0 || to === undefined || !films[to]) return;
  event.preventDefault(); choose(films[to]); films[to].item.focus();
});
id("compare").addEventListener("change", () => {
  const last = shown.at(-1), other = films.find((film) => film !== last);
  shown = id("compare").checked && other ? [other, last].sort((a, b) => films.indexOf(a) - films.indexOf(b)) : shown.slice(-1);
  for (const film of films) film.item.setAttribute("aria-selected", String(shown.includes(film)));
  draw();
});
id("clear").addEventListener("click", () => {
  films.length = 0; shown = []; next = 0; id("list").replaceChildren(); id("tools").hidden = id("list").hidden = true; draw(); tell("All films were removed.");
  id("files").focus();
});
id("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  id("theme").setAttribute("aria-pressed", String(dark));
}
id("login").addEventListener("submit", (event) => { event.preventDefault(); token = id("token").value; id("token").value = ""; begin(); });
setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
begin();
