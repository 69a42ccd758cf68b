const { reference, cases } = JSON.parse(element("material").textContent);
const state = { pages: [], ratings: [] };
let playButtons = [];
const deck = new Deck(() => playButtons.forEach(
  (button, index) => button.setAttribute("aria-pressed", deck.playing && deck.current === index)));

function begin() {
  state.pages = shuffled(cases).map(entry => ({ entry, order: shuffled(Object.keys(entry.sounds)) }));
  state.ratings = [];
  show("trial");
  next();
}

function next() {
  const number = state.ratings.length;
  if (number === state.pages.length) return finish();
  const { entry, order } = state.pages[number];
  element("progress").max = state.pages.length;
  element("progress").value = number;
  element("number").textContent = `Page ${number + 1} of ${state.pages.length}`;
  element("hint").hidden = true;
  element("ratings").replaceChildren(...order.map((_, index) => ratingRow(index)));
  playButtons = [element("reference"), ...element("ratings").querySelectorAll("button")];
  deck.load([reference, ...order].map(system => entry.sounds[system]));
}

function ratingRow(index) {
  const row = document.createElement("div"), button = document.createElement("button");
  const slider = document.createElement("input"), value = document.createElement("output");
  row.className = "rating";
  button.type = "button";
  button.innerHTML = `Sound ${index + 1}${index < 9 ? ` <kbd>${index + 1}</kbd>` : ""}`;
  button.addEventListener("click", () => deck.toggle(index + 1));
  Object.assign(slider, { type: "range", min: 0, max: 100, value: 50, ariaLabel: `Rating of sound ${index + 1}` });
  value.textContent = "–";
  slider.addEventListener("input", () => { value.textContent = slider.value; });
  slider.addEventListener("focus", () => { if (!deck.playing || deck.current !== index + 1) deck.toggle(index + 1); });
  row.append(button, slider, value);
  return row;
}

function rated() {
  if (element("trial").hidden) return;
  const given = [...element("ratings").querySelectorAll("output")].map(output => Number(output.textContent));
  element("hint").hidden = !given.some(Number.isNaN) && given.includes(100);
  if (!element("hint").hidden) return;
  state.ratings.push(given);
  next();
}

/* Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 30. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];

function meanAndInterval(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length, freedom = values.length - 1;
  if (!freedom) return [mean, NaN, NaN];
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / freedom;
  const half = (STUDENT[freedom - 1] || 1.96) * Math.sqrt(variance / values.length);
  return [mean, mean - half, mean + half];
}

function finish() {
  deck.load([]);
  const rows = state.pages.flatMap(({ entry, order }, page) =>
    order.map((system, index) => ({ page: page + 1, name: entry.name, system, rating: state.ratings[page][index] })));
  const systems = [...new Set(rows.map(row => row.system))];
  const means = systems.map(system => [system, ...meanAndInterval(rows.filter(row => row.system === system).map(row => row.rating))]);
  means.sort((one, other) => other[1] - one[1]);
  const number = value => Number.isFinite(value) ? value.toFixed(1) : "–";
  fillTable(element("tally"), means.map(([system, mean, low, high]) => [system, number(mean), `${number(low)} to ${number(high)}`]));
  const missed = rows.filter(row => row.system === reference && row.rating < 90).length;
  element("verdict").textContent = `${state.pages.length} pages rated. The hidden reference got less than 90 on ${missed} of them`
    + (missed > 0.15 * state.pages.length ? ": by BS.1534 such a listener is left out." : ".");
  offerCsv(element("csv"), "mushra.csv", [["page", "utterance", "system", "rating"], ...rows.map(row => [row.page, row.name, row.system, row.rating])]);
  show("result");
}

function show(name) {
  for (const panel of ["setup", "trial", "result"]) element(panel).hidden = panel !== name;
  element(name).querySelector("button").focus({ preventScroll: true });
}

element("begin").addEventListener("click", begin);
element("again").addEventListener("click", () => show("setup"));
element("next").addEventListener("click", rated);
element("reference").addEventListener("click", () => deck.toggle(0));
onKeys(Object.fromEntries([..."0123456789"].map(digit => [digit, () => deck.toggle(Number(digit))])));
