"""What a live stream takes, hop by hop: speed.json and speed.md.

python recipes/live/speed.py CORPUS -o FOLDER [--model speech] [--count 6]

Processor time on one core, the delay that is promised, whether the codes are those of the whole file, how far the sound
is from that of the whole file decoded in large pieces, and the memory of a stream.
"""

import time
import tracemalloc
from typing import Any

import numpy as np
from results import arguments_of, originals, write

import vqaudio
from vqaudio.codecs.speech import Codec

HOPS = (1, 2, 3, 4, 6, 8)
BLOCK = 320  # samples that are pushed at once
STREAMS = 100  # that memory is counted of


def one_hop(codec: Codec, waves: list[np.ndarray], hop: int) -> dict[str, Any]:
    """The figures of one hop over some utterances."""
    rate_hz = codec.sample_rate
    seconds = {"encode": 0.0, "decode": 0.0}
    vectors, different, error, power = 0, 0, 0.0, 0.0
    encoder = codec.stream_encoder(hop=hop)
    for wave in waves:
        stream = codec.encode(wave, rate_hz)
        level = stream.header.levels[0]
        encoder = codec.stream_encoder(gain=1 / level, hop=hop)
        decoder = codec.stream_decoder(level=level, hop=hop)
        begun = time.process_time()
        parts = [encoder.push(wave[first : first + BLOCK]) for first in range(0, len(wave), BLOCK)]
        codes = np.concatenate([*parts, encoder.flush()], axis=1)
        between = time.process_time()
        sounds = [decoder.push(codes[:, first : first + 1]) for first in range(codes.shape[1])]
        live = np.concatenate([*sounds, decoder.flush()])[: len(wave)]
        seconds["encode"] += between - begun
        seconds["decode"] += time.process_time() - between
        vectors += codes.shape[1]
        different += int((codes != stream.codes[0]).any(axis=0).sum())
        whole = codec.decode(stream)[0]
        error += float(np.square(live - whole, dtype=np.float64).sum())
        power += float(np.square(whole, dtype=np.float64).sum())
    length = sum(map(len, waves)) / rate_hz
    return {
        "hop": hop,
        "encode": length / seconds["encode"],
        "decode": length / seconds["decode"],
        "both": length / sum(seconds.values()),
        "delay_s": encoder.delay_s + decoder.delay_s,
        "vectors": vectors,
        "vectors_different": different,
        "sound_db": 10 * np.log10(error / power),
    }


def memory(codec: Codec, wave: np.ndarray) -> dict[str, float]:
    """Kilobytes that an encoder and a decoder take, once they are under way."""
    encoder, decoder = codec.stream_encoder(gain=None), codec.stream_decoder()
    decoder.push(encoder.push(wave[: 3 * codec.sample_rate]))
    found = {}
    for name, one in (("encoder", encoder), ("decoder", decoder)):
        tracemalloc.start()
        copies = [one.copy() for _ in range(STREAMS)]
        found[name] = tracemalloc.get_traced_memory()[0] / len(copies) / 1000
        tracemalloc.stop()
    return found


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        "# Live streams",
        "",
        f"{document['utterances']} utterances, {document['seconds']:.0f} s, model {document['model']}; processor time "
        "on one core; the delay of encoder and decoder together, as they promise it.",
        "",
        "| hop, vectors | encode, times real time | decode | both | delay, ms | other codes, vectors | sound, dB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in document["rows"]:
        speeds = " | ".join(f"{row[name]:.1f}" for name in ("encode", "decode", "both"))
        apart = f"{row['vectors_different']} of {row['vectors']}"
        lines.append(f"| {row['hop']} | {speeds} | {1000 * row['delay_s']:.0f} | {apart} | {row['sound_db']:.1f} |")
    encoder, decoder = (document["memory_kb"][name] for name in ("encoder", "decoder"))
    lines += ["", f"An encoder takes {encoder:.0f} kB, a decoder {decoder:.0f} kB, beside the model that all share."]
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = arguments_of(__doc__)
    codec = vqaudio.load(arguments.model, "cpu")
    codec.warm_up()
    waves = [one.wave for one in originals(arguments.corpus, arguments.count, codec.sample_rate)]
    one_hop(codec, [waves[0][: codec.sample_rate]], 1)  # whatever has to be made ready
    document = {
        "model": arguments.model,
        "utterances": len(waves),
        "seconds": sum(map(len, waves)) / codec.sample_rate,
        "memory_kb": memory(codec, waves[0]),
        "rows": [one_hop(codec, waves, hop) for hop in HOPS],
    }
    write(arguments.output, "speed", document, page(document))


if __name__ == "__main__":
    main()
