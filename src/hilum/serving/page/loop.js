"use strict";
// What a reader gives back, and the nearest films: parts of a film's pane that the service has only where it was asked to.
const READINGS = [["present", "+"], ["absent", "−"], ["uncertain", "?"]];

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

// ---- the reader's verdict ----
function readings(film, name, cell) {
  film.verdict ??= {};
  const group = element("span", "", "readings");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Your reading of ${name}`);
  for (const [word, sign] of READINGS) {
    const button = element("button", sign);
    button.type = "button"; button.title = word; button.dataset.word = word; button.dataset.finding = name;
    button.setAttribute("aria-label", `${name} ${word}`);
    button.addEventListener("click", () => give(film, { [name]: film.verdict[name] === word ? null : word }));
    group.append(button);
  }
  cell.append(group);
}

function agree(film) {
  const { thresholds, called } = film.answer, labels = {};
  for (const name of Object.keys(thresholds)) if (thresholds[name] !== null) labels[name] = called.includes(name) ? "present" : "absent";
  if (Object.keys(labels).length) give(film, labels);
  else tell("The model calls no finding, so there is nothing to agree with.");
}

function give(film, labels) {   // one after the other, so that the last click counts
  film.saving = (film.saving ?? Promise.resolve()).then(async () => {
    const verdict = { film: film.answer.input.sha256, reader: id("reader").value.trim() || "reader", labels };
    if (film.patient) verdict.patient = film.patient;
    let body = JSON.stringify(verdict), headers = { "Content-Type": "application/json" };
    if (model.verdicts.films && !film.kept) {
      const form = new FormData();
      form.append("verdict", body);
      form.append("film", new Blob([film.file]), "film");   // without the file's own name
      body = form; headers = {};
    }
    try {
      const answer = await (await ask("v1/verdicts", body, headers)).json();
      film.verdict = answer.labels; film.kept = answer.film_kept;
      const count = Object.keys(answer.labels).length;
      film.stored = count ? `Stored: ${count} of ${model.findings.length} findings read by ${answer.reader}.` : "Withdrawn: nothing is stored of this film.";
    } catch (error) { film.stored = `Not stored: ${error.message}`; }
    tell(`${film.name}: ${film.stored}`);
    for (const root of document.querySelectorAll(".pane")) if (root.film === film) showReadings(film, root);
  });
}

function showReadings(film, root) {
  for (const button of root.querySelectorAll(".readings button"))
    button.setAttribute("aria-pressed", String(film.verdict?.[button.dataset.finding] === button.dataset.word));
  root.querySelector(".stored").textContent = film.stored ?? "";
}

function verdictPart(film, root) {
  const part = root.querySelector(".verdict"), patient = part.querySelector(".patient");
  part.hidden = false;
  part.querySelector(".agree").addEventListener("click", () => agree(film));
  patient.value = film.patient ?? "";
  patient.addEventListener("change", () => { film.patient = patient.value.trim(); });
  part.querySelector(".kept").textContent = model.verdicts.films
    ? "A click stores the label, and a picture of the film without its header." : "A click stores the label; the film itself is not kept.";
  showReadings(film, root);
}

// ---- the nearest films ----
async function neighbours(film, part) {
  part.hidden = false;
  const list = part.querySelector("ul"), about = part.querySelector("p");
  about.textContent = "Films are compared …";
  try { film.near ??= await (await ask("v1/neighbours", film.file)).json(); }
  catch (error) { about.textContent = error.message; return; }
  about.textContent = `Of ${film.near.films.toLocaleString("en")} films the nearest by the model's features, one a patient. Their labels are `
    + "those of the data set and not this film's; a near film is no proof of anything.";
  const items = film.near.neighbours.map((near) => {
    const item = element("li"), text = element("div");
    const present = Object.keys(near.labels).filter((name) => near.labels[name] === "present");
    const unsure = Object.keys(near.labels).filter((name) => near.labels[name] === "uncertain");
    text.append(element("b", present.join(", ") || (Object.keys(near.labels).length ? "nothing present" : "no label")));
    if (unsure.length) text.append(element("span", "uncertain: " + unsure.join(", "), "quiet"));
    text.append(element("span", (near.same_film ? "this very film · " : "") + `similarity ${near.similarity.toFixed(3)}`, "quiet"));
    if (film.near.pictures) item.append(thumbnail(near));
    item.append(text);
    return item;
  });
  list.replaceChildren(...items);
}

function thumbnail(near) {
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Film ${near.row} of the index`);
  (async () => {
    near.bitmap ??= await createImageBitmap(await (await ask(`v1/neighbours/${near.row}`)).blob());
    canvas.width = near.bitmap.width; canvas.height = near.bitmap.height;
    canvas.getContext("2d").drawImage(near.bitmap, 0, 0);
  })().catch((error) => tell(error.message));
  return canvas;
}
