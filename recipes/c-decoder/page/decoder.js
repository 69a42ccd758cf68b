// The C decoder in WebAssembly: decodes a .vqa file to its codes or its sound, in a browser or in node.

const BLOCK_FRAMES = 16384;
const BAD_FILE = 8; // WASI's EBADF: what the library's printf finds, which is never called

/** A decoder with its model. `wasm`, `weights` and `config` are bytes: vqaudio.wasm, model.safetensors, config.json. */
export class Decoder {
  static async load(wasm, weights, config) {
    const refuse = () => BAD_FILE;
    const system = { fd_close: refuse, fd_seek: refuse, fd_write: refuse };
    const { instance } = await WebAssembly.instantiate(wasm, { wasi_snapshot_preview1: system });
    instance.exports._initialize();
    const decoder = new Decoder(instance.exports);
    decoder.#with([weights, config], ([ours, its]) => {
      if (!decoder.c.load(ours, weights.length, its, config.length)) throw new Error(decoder.#error());
    });
    return decoder;
  }

  constructor(exports) {
    this.c = exports;
  }

  /** The sound of a stream (a Uint8Array): {rateHz, channels: [Float32Array], lostBlocks}. Throws what is wrong with it. */
  decode(stream, seed = 0) {
    return this.#opened(stream, seed, () => {
      const count = this.c.channels();
      const channels = Array.from({ length: count }, () => new Float32Array(this.c.frames()));
      const room = this.#take(4 * BLOCK_FRAMES * count);
      let done = 0;
      for (let frames; (frames = this.c.sound(room, BLOCK_FRAMES)) > 0; done += frames) {
        const block = new Float32Array(this.c.memory.buffer, room, frames * count); // memory may have grown
        channels.forEach((wave, channel) => {
          for (let i = 0; i < frames; i++) wave[done + i] = block[i * count + channel];
        });
      }
      this.c.give_back(room);
      if (this.#error()) throw new Error(this.#error());
      return { rateHz: this.c.rate_hz(), channels, lostBlocks: this.c.lost() };
    });
  }

  /** The codes of a stream: a list of arrays [channels * tokens of a range], channel after channel in each. */
  codes(stream) {
    return this.#opened(stream, 0, () => {
      const room = this.#take(2 * 65536 * this.c.channels());
      const ranges = [];
      for (let tokens; (tokens = this.c.codes(room)) > 0; )
        ranges.push(new Uint16Array(this.c.memory.buffer, room, tokens * this.c.channels()).slice());
      this.c.give_back(room);
      return ranges;
    });
  }

  #opened(stream, seed, use) {
    return this.#with([stream], ([bytes]) => {
      if (!this.c.open(bytes, stream.length, seed)) throw new Error(this.#error());
      return use();
    });
  }

  /** Calls `use` with copies of some bytes in the library's memory. */
  #with(arrays, use) {
    const places = arrays.map((array) => {
      const place = this.#take(array.length);
      new Uint8Array(this.c.memory.buffer).set(array, place);
      return place;
    });
    try {
      return use(places);
    } finally {
      places.forEach((place) => this.c.give_back(place));
    }
  }

  #take(size) {
    const place = this.c.take(size || 1);
    if (!place) throw new Error("there is too little memory");
    return place;
  }

  #error() {
    const bytes = new Uint8Array(this.c.memory.buffer, this.c.error_text());
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }
}
