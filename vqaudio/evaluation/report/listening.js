"use strict";
const element = id => document.getElementById(id);

function randomBelow(count) {
  const [draw] = crypto.getRandomValues(new Uint32Array(1));
  return Math.floor(draw / 2 ** 32 * count);
}

function shuffled(items) {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const other = randomBelow(last + 1);
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/* Sounds of one length, of which one is heard at a time; another goes on where the last one was. */
class Deck {
  constructor(onChange) {
    this.onChange = onChange;
    this.players = [];
    this.current = -1;
  }
  load(sources) {
    this.stop();
    this.current = -1;
    this.players = sources.map(source => {
      const player = new Audio(source);
      player.preload = "auto";
      player.loop = true;
      return player;
    });
    this.onChange();
  }
  get playing() {
    return this.current >= 0 && !this.players[this.current].paused;
  }
  toggle(index) {
    if (index >= this.players.length) return;
    if (this.playing && index === this.current) return this.stop();
    const before = this.players[this.current], player = this.players[index];
    if (before) {
      before.pause();
      player.currentTime = before.currentTime;
    }
    this.current = index;
    player.play().catch(error => { if (error.name !== "AbortError") throw error; })  // another began meanwhile
      .finally(() => this.onChange());
    this.onChange();
  }
  stop() {
    if (this.current >= 0) this.players[this.current].pause();
    this.onChange();
  }
}

function offerCsv(link, name, rows) {
  const cell = value => /[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
  const text = rows.map(row => row.map(cell).join(",")).join("\r\n") + "\r\n";
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
}

function fillTable(body, rows) {
  body.replaceChildren(...rows.map(([name, ...cells]) => {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head, ...cells.map(value => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }));
    return row;
  }));
}

function onKeys(actions) {
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=number]")) return;
    const action = actions[event.key.toLowerCase()];
    if (action) {
      event.preventDefault();
      action();
    }
  });
}
