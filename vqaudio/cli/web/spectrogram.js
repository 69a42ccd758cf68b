"use strict";
const WINDOW_S = 0.025, STEP_S = 0.01, HIGHEST_HZ = 8000;
const FLOOR_DB = -100, CEILING_DB = -20;
const COLOURS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];  // dark to light

/* Discrete Fourier transform, in place, of a power of two of samples. */
function transform(real, imaginary) {
  const size = real.length;
  for (let index = 1, other = 0; index < size; index++) {
    let bit = size >> 1;
    for (; other & bit; bit >>= 1) other ^= bit;
    other ^= bit;
    if (index < other) {
      [real[index], real[other]] = [real[other], real[index]];
      [imaginary[index], imaginary[other]] = [imaginary[other], imaginary[index]];
    }
  }
  for (let span = 2; span <= size; span *= 2) {
    for (let first = 0; first < size; first += span) {
      for (let step = 0; step < span / 2; step++) {
        const angle = -2 * Math.PI * step / span, upper = first + step, lower = upper + span / 2;
        const cosine = Math.cos(angle), sine = Math.sin(angle);
        const re = real[lower] * cosine - imaginary[lower] * sine;
        const im = real[lower] * sine + imaginary[lower] * cosine;
        real[lower] = real[upper] - re;
        imaginary[lower] = imaginary[upper] - im;
        real[upper] += re;
        imaginary[upper] += im;
      }
    }
  }
}

/* Levels, dB of full scale, at size / 2 frequencies up to half the sample rate. */
function levels(wave, window) {
  const real = wave.map((value, index) => value * window[index]), imaginary = new Float64Array(wave.length);
  transform(real, imaginary);
  const scale = 2 / window.reduce((sum, value) => sum + value, 0);
  return real.subarray(0, wave.length / 2).map(
    (value, index) => 20 * Math.log10(Math.hypot(value, imaginary[index]) * scale + 1e-9));
}

function colourOf(level) {
  const place = Math.max(0, Math.min(0.9999, (level - FLOOR_DB) / (CEILING_DB - FLOOR_DB))) * (COLOURS.length - 1);
  const below = COLOURS[Math.floor(place)], above = COLOURS[Math.floor(place) + 1], share = place % 1;
  return below.map((value, index) => Math.round(value + (above[index] - value) * share));
}

/* A picture of sound that moves to the left as more is pushed. */
class Spectrogram {
  constructor(canvas, rateHz) {
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.canvas = canvas;
    this.rateHz = rateHz;
    const size = 2 ** Math.ceil(Math.log2(WINDOW_S * rateHz));
    this.window = Float64Array.from({ length: size }, (_, index) => 0.5 - 0.5 * Math.cos(2 * Math.PI * index / size));
    this.step = Math.round(STEP_S * rateHz);
    this.held = new Float64Array(0);
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, canvas.width, canvas.height);
  }
  push(wave) {
    const all = new Float64Array(this.held.length + wave.length);
    all.set(this.held);
    all.set(wave, this.held.length);
    const columns = [];
    let first = 0;
    for (; first + this.window.length <= all.length; first += this.step) {
      columns.push(levels(all.slice(first, first + this.window.length), this.window));
    }
    this.held = all.slice(first);
    if (columns.length) this.draw(columns.slice(-this.canvas.width));
  }
  draw(columns) {
    const { width, height } = this.canvas, image = this.context.createImageData(columns.length, height);
    columns.forEach((column, x) => {
      for (let y = 0; y < height; y++) {
        const hz = (1 - (y + 0.5) / height) * HIGHEST_HZ, index = Math.round(hz / this.rateHz * 2 * column.length);
        const colour = colourOf(index < column.length ? column[index] : FLOOR_DB);
        image.data.set([...colour, 255], 4 * (y * columns.length + x));
      }
    });
    this.context.drawImage(this.canvas, -columns.length, 0);
    this.context.putImageData(image, width - columns.length, 0);
  }
}
