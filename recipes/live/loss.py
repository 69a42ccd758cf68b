"""What lost packets cost, with and without forward error correction: loss.json and loss.md.

python recipes/live/loss.py CORPUS -o FOLDER [--model speech] [--count 6]

Utterances are coded, put into packets, and decoded as a live stream; packets get lost at random, or in bursts of three
on average (Gilbert's model). The same packets get lost in all rows of a share and pattern.
"""

from pathlib import Path
from typing import Any

import numpy as np
from results import arguments_of, originals, write

import vqaudio
from vqaudio.bitstream.packets import PacketReader, stream_to_packets
from vqaudio.codecs.speech import Codec
from vqaudio.evaluation.metrics import Ruler, summary
from vqaudio.evaluation.speech import strict

SHARES = (0.01, 0.05, 0.2)
PATTERNS = ("random", "bursts")
VECTORS = 2  # of a packet
REPEATED = (0, 3)  # quantizers that the next packet repeats
BURST = 3.0  # packets, on average
METRICS = ("stoi", "distillmos")
LABELS = {"stoi": "STOI", "distillmos": "DistillMOS"}
HOP = 8  # the sound is the same with any, up to rounding; more are quicker


def losses(count: int, share: float, pattern: str, rng: np.random.Generator) -> np.ndarray:
    """Which of ``count`` packets are lost."""
    if pattern == "random":
        return rng.random(count) < share
    lost, state = np.zeros(count, bool), bool(rng.random() < share)
    leave, enter = 1 / BURST, share / (1 - share) / BURST
    for i in range(count):
        lost[i] = state
        state = rng.random() >= leave if state else rng.random() < enter
    return lost


def decoded(codec: Codec, packets: list[bytes], lost: np.ndarray) -> np.ndarray:
    """The sound of a header packet and the packets that are not ``lost``."""
    reader, decoder, parts = PacketReader(), None, []
    for packet in [packets[0], *(packet for packet, gone in zip(packets[1:], lost, strict=True) if not gone)]:
        for arrived in reader.push(packet):
            assert reader.header is not None
            decoder = decoder or codec.stream_decoder(level=reader.header.level, hop=HOP)
            parts += [decoder.lost(arrived.lost), decoder.push(arrived.codes)]
    return np.concatenate([*parts, decoder.flush()]) if decoder else np.zeros(0, np.float32)


def measure(model: str, corpus: Path, count: int) -> dict[str, Any]:
    """Everything, as a document for JSON."""
    codec, ruler = vqaudio.load(model, "cpu"), Ruler(METRICS)
    config = codec.config
    found: dict[tuple[str, float, int], dict[str, Any]] = {}
    cases = [("none", 0.0, 0), *((p, s, r) for p in PATTERNS for s in SHARES for r in REPEATED)]
    seconds = 0.0
    for number, original in enumerate(originals(corpus, count, config.sample_rate_hz)):
        stream = codec.encode(original.wave, config.sample_rate_hz, coder="packed")
        seconds += stream.duration_s
        for pattern, share, repeated in cases:
            vector = config.encoder.hop_length
            packets = list(stream_to_packets(stream, config.sample_rate_hz, vector, VECTORS, repeated))
            rng = np.random.default_rng([number, PATTERNS.index(pattern) if share else 0, round(1000 * share)])
            lost = losses(len(packets) - 1, share, pattern if share else "random", rng)
            row = found.setdefault((pattern, share, repeated), {"figures": [], "lost": 0, "packets": 0, "bytes": 0})
            row["figures"].append(ruler.measure(original, decoded(codec, packets, lost)))
            row["lost"] += int(lost.sum())
            row["packets"] += len(lost)
            row["bytes"] += sum(map(len, packets))
    rows = [
        {
            "pattern": pattern,
            "share": share,
            "repeated_quantizers": repeated,
            "share_lost": row["lost"] / row["packets"],
            "bits_per_second": 8 * row["bytes"] / seconds,
            **{name: {"value": mean.value, "low": mean.low, "high": mean.high} for name, mean in means(row).items()},
        }
        for (pattern, share, repeated), row in found.items()
    ]
    facts = {"model": model, "utterances": count, "seconds": seconds, "vectors_a_packet": VECTORS}
    return strict({**facts, "packet_s": VECTORS / codec.frame_rate, "rows": rows})


def means(row: dict[str, Any]) -> dict[str, Any]:
    """The mean of each metric."""
    found = summary(row["figures"])
    return {name: found[name] for name in METRICS}


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        "# Lost packets",
        "",
        f"{document['utterances']} utterances, {document['seconds']:.0f} s, model {document['model']}; a packet is "
        f"{1000 * document['packet_s']:.0f} ms ({document['vectors_a_packet']} vectors). Bursts are of {BURST:.0f} "
        "packets on average. With error correction each packet repeats the first quantizers of the one before.",
        "",
        f"| loss | lost, % | quantizers repeated | kb/s, all bytes | {' | '.join(LABELS.values())} |",
        f"| --- | --- | --- | --- |{' --- |' * len(METRICS)}",
    ]
    for row in document["rows"]:
        loss = f"{100 * row['share']:.0f} %, {row['pattern']}" if row["share"] else "none"
        cells = [loss, f"{100 * row['share_lost']:.1f}", row["repeated_quantizers"]]
        cells += [f"{row['bits_per_second'] / 1000:.2f}", f"{row['stoi']['value']:.3f}"]
        cells += [f"{row['distillmos']['value']:.2f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = arguments_of(__doc__)
    document = measure(arguments.model, arguments.corpus, arguments.count)
    write(arguments.output, "loss", document, page(document))


if __name__ == "__main__":
    main()
