// Decodes with WebAssembly in node:
//   node decode.mjs FOLDER IN.vqa OUT.f32 [SEED]      # FOLDER as build.sh makes it; channels interleaved, float32
//   node decode.mjs FOLDER IN.vqa OUT.codes --codes   # uint16, a range of tokens after the other

import { readFile, writeFile } from "node:fs/promises";
import { Decoder } from "./decoder.js";

const [folder, input, output, last = "0"] = process.argv.slice(2);

try {
  const files = ["vqaudio.wasm", "model.safetensors", "config.json"].map((name) => readFile(`${folder}/${name}`));
  const decoder = await Decoder.load(...(await Promise.all(files)));
  const stream = await readFile(input);
  if (last === "--codes") {
    await writeFile(output, Buffer.concat(decoder.codes(stream).map((range) => Buffer.from(range.buffer))));
  } else {
    const { channels } = decoder.decode(stream, Number(last));
    const sound = new Float32Array(channels.length * channels[0].length);
    channels.forEach((wave, channel) => wave.forEach((value, i) => { sound[i * channels.length + channel] = value; }));
    await writeFile(output, Buffer.from(sound.buffer));
  }
} catch (error) {
  console.error(`decode.mjs: ${input}: ${error.message}`);
  process.exitCode = 1;
}
