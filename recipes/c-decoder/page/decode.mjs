// Decodes with WebAssembly in node:
//   node decode.mjs FOLDER IN.vqa OUT.f32             # FOLDER as build.sh makes it; channels interleaved, float32
//   node decode.mjs FOLDER --codes IN.vqa OUT.codes   # uint16, a range of tokens after the other
// The noise has the seed in the environment's SEED, or 0.

import { readFile, writeFile } from "node:fs/promises";
import { Decoder } from "./decoder.js";

const words = process.argv.slice(2);
const asked = words.includes("--codes");
const [folder, input, output] = words.filter((word) => word !== "--codes");

try {
  const files = ["vqaudio.wasm", "model.safetensors", "config.json"].map((name) => readFile(`${folder}/${name}`));
  const decoder = await Decoder.load(...(await Promise.all(files)));
  const stream = await readFile(input);
  if (asked) {
    await writeFile(output, Buffer.concat(decoder.codes(stream).map((range) => Buffer.from(range.buffer))));
  } else {
    const { channels } = decoder.decode(stream, Number(process.env.SEED ?? 0));
    const sound = new Float32Array(channels.length * channels[0].length);
    channels.forEach((wave, channel) => wave.forEach((value, i) => { sound[i * channels.length + channel] = value; }));
    await writeFile(output, Buffer.from(sound.buffer));
  }
} catch (error) {
  console.error(`decode.mjs: ${input}: ${error.message}`);
  process.exitCode = 1;
}
