"use strict";
const BLOCK_S = 0.02;  // of sound that goes to the server at once
const AHEAD_S = 0.1;   // of sound that waits before it is heard, against a server that comes in turns
const MOST_S = 1;      // of sound that may wait; what is older is left out

/* The microphone's first channel, in blocks of 16-bit samples. */
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.begin();
    this.open = true;
    this.port.onmessage = () => { this.open = false; };
  }
  begin() {
    this.block = new Int16Array(Math.round(BLOCK_S * sampleRate));
    this.filled = 0;
  }
  process([input]) {
    for (const value of input[0] ?? []) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block.buffer, [this.block.buffer]);
        this.begin();
      }
    }
    return this.open;
  }
}

/* Original and decoded sound as two channels, in step; blocks [original, decoded] of floats come by messages. */
class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.blocks = [];
    this.place = 0;    // in the first block
    this.waiting = 0;  // samples
    this.started = false;
    this.open = true;
    this.port.onmessage = ({ data }) => this.add(data);
  }
  add(data) {
    if (data === null) {
      this.open = false;
      return;
    }
    this.blocks.push(data);
    this.waiting += data[0].length;
    while (this.waiting > MOST_S * sampleRate) this.drop();
    this.port.postMessage(this.waiting / sampleRate);
  }
  drop() {
    this.waiting -= this.blocks.shift()[0].length - this.place;
    this.place = 0;
  }
  process(_, [output]) {
    this.started = this.waiting > (this.started ? 0 : AHEAD_S * sampleRate);
    for (let index = 0; this.started && this.blocks.length && index < output[0].length; index++) {
      const block = this.blocks[0];
      output[0][index] = block[0][this.place];
      output[1][index] = block[1][this.place];
      this.place++;
      this.waiting--;
      if (this.place === block[0].length) {
        this.blocks.shift();
        this.place = 0;
      }
    }
    return this.open;
  }
}

registerProcessor("capture", Capture);
registerProcessor("player", Player);
