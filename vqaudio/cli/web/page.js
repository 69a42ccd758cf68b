"use strict";
const PACKETS = 1, SOUND = 2;            // the first byte of a message
const MOST_BEHIND_S = 2, CAUGHT_UP_S = 0.5;  // where the server is behind, blocks are left out from here to there
const RATE_OVER_S = 2;
const LONGEST_S = 600;                   // that the page keeps

const element = id => document.getElementById(id);
const heard = () => document.querySelector("input[name=hear]:checked").value;
let facts = null, live = null;

/* 16-bit samples, ever more. */
class Samples {
  constructor() {
    this.data = new Int16Array(1 << 16);
    this.length = 0;
  }
  push(block) {
    if (this.length + block.length > this.data.length) {
      const more = new Int16Array(2 * (this.length + block.length));
      more.set(this.data.subarray(0, this.length));
      this.data = more;
    }
    this.data.set(block, this.length);
    this.length += block.length;
  }
  floats(first = 0, end = this.length) {
    return Float32Array.from(this.data.subarray(first, end), value => value / 32768);
  }
}

/* Two channels, the original and the decoded sound, of which one or none is heard. */
class Mixer {
  constructor(context) {
    this.input = context.createChannelSplitter(2);
    this.gains = ["original", "decoded"].map((name, channel) => {
      const gain = context.createGain();
      this.input.connect(gain, channel);
      gain.connect(context.destination);
      return [name, gain.gain];
    });
    this.choose();
  }
  choose() {
    for (const [name, gain] of this.gains) gain.value = Number(heard() === name);
  }
}

/* One sound, from the microphone to the server and back. */
class Live {
  constructor() {
    this.original = new Samples();
    this.decoded = new Samples();
    this.packets = [];
    this.bytes = [];      // [when, how many] of late packets
    this.taken = 0;       // samples that the server has
    this.dropped = 0;     // samples left out
    this.late = false;
    this.delayS = null;   // of the newest decoded sample
    this.waitingS = 0;    // in the player
    this.promisedS = null;
    this.state = "opening";
  }
  async open(request) {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives the microphone to pages of https and of this machine (127.0.0.1) alone.");
    }
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.media = await navigator.mediaDevices.getUserMedia({ audio: plain });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklets.js");
    this.rateHz = Math.round(this.context.sampleRate);
    this.mixer = new Mixer(this.context);
    this.player = new AudioWorkletNode(this.context, "player", { numberOfInputs: 0, outputChannelCount: [2] });
    this.player.port.onmessage = ({ data }) => { this.waitingS = data; };
    this.player.connect(this.mixer.input);
    this.pictures = ["original", "decoded"].map(id => new Spectrogram(element(id), this.rateHz));
    const address = new URL("live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify({ ...request, sample_rate_hz: this.rateHz }));
    this.socket.onmessage = ({ data }) => typeof data === "string" ? this.told(JSON.parse(data)) : this.got(data);
    this.socket.onclose = () => this.over("The connection to the server is lost; what came by then is kept.");
  }
  start() {
    this.state = "live";
    this.capture = new AudioWorkletNode(this.context, "capture");
    this.capture.port.onmessage = ({ data }) => this.add(new Int16Array(data));
    this.context.createMediaStreamSource(this.media).connect(this.capture).connect(this.context.destination);
    show();
  }
  add(block) {
    if (this.state !== "live") return;
    const behindS = (this.original.length - this.taken) / this.rateHz;
    this.late = behindS > (this.late ? CAUGHT_UP_S : MOST_BEHIND_S);
    if (this.late) {
      this.dropped += block.length;
      return;
    }
    this.original.push(block);
    this.socket.send(block);
    if (this.original.length > LONGEST_S * this.rateHz) this.end();
  }
  end() {
    if (this.state === "live") this.socket.send(JSON.stringify({ end: true }));
    this.silence();
    this.state = "ending";
    show();
  }
  silence() {
    this.capture?.port.postMessage(null);
    for (const track of this.media?.getTracks() ?? []) track.stop();
  }
  told(message) {
    if ("delay_s" in message) {
      this.promisedS = message.delay_s;
      this.start();
    }
    if ("samples" in message) this.taken = message.samples;
    if ("ended" in message) this.over("");
    if ("error" in message) this.over(`The server says: ${message.error}.`);
  }
  got(data) {
    const body = data.slice(1);
    if (new Uint8Array(data)[0] === PACKETS) {
      this.packets.push(body);
      this.bytes.push([performance.now(), body.byteLength]);
      return;
    }
    const first = this.decoded.length;
    this.decoded.push(new Int16Array(body));
    const end = this.decoded.length, behindS = (this.original.length - end) / this.rateHz;
    if (this.state === "live") this.delayS = behindS;
    const both = [this.original.floats(first, end), this.decoded.floats(first, end)];
    this.pictures.forEach((picture, index) => picture.push(both[index]));
    if (this.state === "live") this.player.port.postMessage(both, both.map(wave => wave.buffer));
  }
  over(problem) {
    if (this.state === "over") return;
    this.state = "over";
    this.silence();
    this.player?.port.postMessage(null);
    this.socket?.close();
    show(problem);
  }
  recentBitsPerSecond() {
    const from = performance.now() - 1000 * RATE_OVER_S;
    this.bytes = this.bytes.filter(([when]) => when > from);
    return 8 * this.bytes.reduce((sum, [, bytes]) => sum + bytes, 0) / RATE_OVER_S;
  }
  meanBitsPerSecond() {
    const bytes = this.packets.reduce((sum, packet) => sum + packet.byteLength, 0);
    return this.taken ? 8 * bytes * this.rateHz / this.taken : 0;
  }
  replay(onEnd) {
    const length = Math.min(this.original.length, this.decoded.length);
    const buffer = this.context.createBuffer(2, length, this.rateHz);
    [this.original, this.decoded].forEach((sound, channel) => buffer.copyToChannel(sound.floats(0, length), channel));
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.mixer.input);
    source.onended = onEnd;
    source.start();
    return source;
  }
}

function wav(samples, rateHz) {
  const head = new DataView(new ArrayBuffer(44)), bytes = 2 * samples.length;
  const text = (place, word) => [...word].forEach((letter, index) => head.setUint8(place + index, letter.charCodeAt(0)));
  const fields = [[4, 36 + bytes, 4], [16, 16, 4], [20, 1, 2], [22, 1, 2], [24, rateHz, 4], [28, 2 * rateHz, 4],
    [32, 2, 2], [34, 16, 2], [40, bytes, 4]];
  [[0, "RIFF"], [8, "WAVEfmt "], [36, "data"]].forEach(([place, word]) => text(place, word));
  for (const [place, value, size] of fields) size === 4 ? head.setUint32(place, value, true) : head.setUint16(place, value, true);
  return new Blob([head, samples.data.subarray(0, samples.length)], { type: "audio/wav" });
}

function offer(link, name, blob) {
  if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.hidden = false;
}

/* ------------------------------------------------------------------------------------------------- what is shown */

const STATUS = { opening: "Waiting for the microphone and the server.", live: "Listening.", ending: "Ending.", over: "Ended." };

function show(problem = "") {
  const state = live?.state ?? "over", done = state === "over";
  element("begin").disabled = !done || facts === null;
  element("end").disabled = state !== "live";
  element("status").textContent = live ? STATUS[state] : "Ready.";
  element("error").textContent = problem;
  element("error").hidden = problem === "";
  element("replay").disabled = !(done && live?.decoded.length);
  if (done && live?.decoded.length) {
    offer(element("save-sound"), "decoded.wav", wav(live.decoded, live.rateHz));
    offer(element("save-packets"), "packets.vql", new Blob(live.packets));
  } else {
    element("save-sound").hidden = element("save-packets").hidden = true;
  }
  figures();
}

function figures() {
  if (!live?.rateHz) return;
  const milliseconds = seconds => seconds === null ? "–" : `${Math.round(1000 * seconds)} ms`;
  const rate = bits => `${(bits / 1000).toFixed(2)} kb/s`;
  const waiting = heard() === "nothing" || live.state !== "live" ? "" : ` + ${milliseconds(live.waitingS)} to the ear`;
  element("rate").textContent = live.state === "live" ? rate(live.recentBitsPerSecond()) : "–";
  element("mean").textContent = rate(live.meanBitsPerSecond());
  element("delay").textContent = milliseconds(live.delayS) + waiting;
  element("promised").textContent = milliseconds(live.promisedS);
  element("length").textContent = `${(live.taken / live.rateHz).toFixed(1)} s`;
  element("dropped").textContent = `${(live.dropped / live.rateHz).toFixed(1)} s`;
}

async function begin() {
  stopReplay();
  await live?.context?.close();
  live = new Live();
  show();
  const mine = live, speaker = element("speaker").value;
  try {
    await mine.open({ model: element("model").value, ...(speaker ? { speaker } : {}) });
  } catch (error) {
    const denied = error.name === "NotAllowedError" || error.name === "NotFoundError";
    mine.over(denied ? `There is no microphone to use: ${error.message}.` : error.message);
  }
}

let replaying = null;

function stopReplay() {
  replaying?.stop();
}

function replay() {
  if (replaying) return stopReplay();
  if (heard() === "nothing") choose("decoded");
  element("replay").setAttribute("aria-pressed", "true");
  replaying = live.replay(() => {
    replaying = null;
    element("replay").setAttribute("aria-pressed", "false");
  });
}

function choose(name) {
  document.querySelector(`input[name=hear][value=${name}]`).checked = true;
  live?.mixer?.choose();
  figures();
}

function chooseModel() {
  const model = facts.models.find(one => one.name === element("model").value);
  element("speaker").replaceChildren(...model.speakers.map(name => new Option(name)));
  element("speakers").hidden = model.speakers.length === 0;
}

async function load() {
  element("begin").onclick = begin;
  element("end").onclick = () => live.end();
  element("replay").onclick = replay;
  element("model").onchange = chooseModel;
  for (const radio of document.querySelectorAll("input[name=hear]")) radio.onchange = () => choose(radio.value);
  try {
    facts = await (await fetch("facts")).json();
    element("model").replaceChildren(...facts.models.map(model => new Option(model.name)));
    chooseModel();
    show();
  } catch {
    show("The server does not answer; load the page again when it does.");
  }
  setInterval(figures, 250);
}

load();
