const { systems, cases } = JSON.parse(element("material").textContent);
const state = { pair: [], trials: [], answers: [] };
const buttons = ["play-a", "play-b", "play-x"].map(element);
const deck = new Deck(() => buttons.forEach(
  (button, index) => button.setAttribute("aria-pressed", deck.playing && deck.current === index)));

/* P(at most `hits` of `trials`) at the chance `chance` each. */
function binomialBelow(hits, trials, chance) {
  let term = (1 - chance) ** trials, sum = 0;
  for (let count = 0; count <= hits; count++) {
    sum += term;
    term *= (trials - count) / (count + 1) * chance / (1 - chance);
  }
  return Math.min(1, sum);
}

/* The 95 % interval of Clopper and Pearson (1934). */
function exactInterval(hits, trials) {
  const solve = below => {
    let low = 0, high = 1;
    for (let step = 0; step < 60; step++) {
      const middle = (low + high) / 2;
      if (below(middle)) low = middle; else high = middle;
    }
    return (low + high) / 2;
  };
  return [
    hits === 0 ? 0 : solve(chance => 1 - binomialBelow(hits - 1, trials, chance) < 0.025),
    hits === trials ? 1 : solve(chance => binomialBelow(hits, trials, chance) > 0.025),
  ];
}

function begin() {
  state.pair = [element("system-a").value, element("system-b").value];
  element("same").hidden = state.pair[0] !== state.pair[1];
  if (state.pair[0] === state.pair[1]) return;
  const wanted = Math.min(200, Math.max(1, Math.round(element("count").valueAsNumber) || 16));
  const usable = cases.filter(entry => state.pair.every(name => name in entry.sounds));
  state.trials = [];
  while (state.trials.length < wanted) state.trials.push(...shuffled(usable));
  state.trials = state.trials.slice(0, wanted).map(entry => ({ entry, hidden: randomBelow(2) }));
  state.answers = [];
  show("trial");
  next();
}

function next() {
  const number = state.answers.length;
  if (number === state.trials.length) return finish();
  const { entry, hidden } = state.trials[number];
  element("progress").max = state.trials.length;
  element("progress").value = number;
  element("number").textContent = `Trial ${number + 1} of ${state.trials.length}`;
  deck.load([0, 1, hidden].map(index => entry.sounds[state.pair[index]]));
}

function answer(index) {
  if (element("trial").hidden) return;
  state.answers.push(index);
  next();
}

function finish() {
  deck.load([]);
  const trials = state.trials.map(({ entry, hidden }, number) => [entry.name, hidden, state.answers[number]]);
  const hits = trials.filter(([, hidden, given]) => hidden === given).length, count = trials.length;
  const [low, high] = exactInterval(hits, count), chance = hits ? 1 - binomialBelow(hits - 1, count, 0.5) : 1;
  const percent = value => `${(100 * value).toFixed(0)} %`;
  element("verdict").textContent = `${hits} of ${count} right: ${percent(hits / count)}, 95 % interval ${percent(low)} to ${percent(high)}. `
    + `Who only guesses gets as many or more with a probability of ${chance.toPrecision(2)}.`;
  const letter = index => "AB"[index];
  fillTable(element("tally"), trials.map(([name, hidden, given]) => [name, letter(hidden), letter(given), hidden === given ? "right" : "wrong"]));
  offerCsv(element("csv"), "abx.csv", [
    ["trial", "utterance", "a", "b", "x", "answer", "right"],
    ...trials.map(([name, hidden, given], number) => [number + 1, name, ...state.pair, letter(hidden), letter(given), Number(hidden === given)]),
  ]);
  show("result");
}

function show(name) {
  for (const panel of ["setup", "trial", "result"]) element(panel).hidden = panel !== name;
  element(name).querySelector("button").focus({ preventScroll: true });
}

for (const [id, start] of [["system-a", 0], ["system-b", 1]]) {
  element(id).append(...systems.map((name, index) => new Option(name, name, false, index === start)));
}
element("begin").addEventListener("click", begin);
element("again").addEventListener("click", () => show("setup"));
buttons.forEach((button, index) => button.addEventListener("click", () => deck.toggle(index)));
element("is-a").addEventListener("click", () => answer(0));
element("is-b").addEventListener("click", () => answer(1));
onKeys({ 1: () => deck.toggle(0), 2: () => deck.toggle(1), 3: () => deck.toggle(2), a: () => answer(0), b: () => answer(1) });
