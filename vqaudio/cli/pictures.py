"""What the command line does with pictures: a file to a stream and back, new pictures, and what there is to tell."""

import io
import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqaudio.cli.console import Report
from vqaudio.cli.paths import STANDARD, Job, announced_compiling, binary_input, binary_output
from vqaudio.errors import OutputError

if TYPE_CHECKING:
    from vqaudio.bitstream.entropy import BlockCoder
    from vqaudio.bitstream.header import Coder, Header
    from vqaudio.bitstream.stream import Damage, Stream
    from vqaudio.codecs.files import OpenStream
    from vqaudio.codecs.image import ImageCodec
    from vqaudio.evaluation.image import ImageEvaluation


def _figures(header: "Header", size: int, job: Job, seconds: float) -> dict[str, Any]:
    """What both directions tell programs of one file."""
    height, width = header.shape
    return {
        "input": job.name,
        "output": job.target,
        "width": width,
        "height": height,
        "bytes": size,
        "bits_per_pixel": 8 * size / (height * width),
        "seconds": seconds,
    }


def _line(facts: dict[str, Any]) -> str:
    target = "standard output" if facts["output"] == STANDARD else facts["output"]
    sizes = f"{facts['width']} x {facts['height']}, {facts['bytes']} bytes, {facts['bits_per_pixel']:.2f} bits a pixel"
    return f"{target}: {sizes}, {facts['seconds']:.2f} s"


def encode_picture(codec: "ImageCodec", job: Job, coder: "Coder", force: bool, report: Report) -> dict[str, Any]:
    """Encodes a picture file, reports it, and returns its figures."""
    from vqaudio.io.image import read_picture

    started = time.perf_counter()
    with binary_input(job.source) as file:
        picture = read_picture(io.BytesIO(file.read()) if job.source == STANDARD else file, job.name)
    with binary_output(job.target, force) as file, report.progress(job.name) as progress:
        stream = codec.encode(picture, coder=coder, progress=progress)
        data = _as_bytes(codec, stream)
        file.write(data)
    facts = _figures(stream.header, len(data), job, time.perf_counter() - started)
    report.result(_line(facts), facts)
    return facts


def _as_bytes(codec: "ImageCodec", stream: "Stream") -> bytes:
    file = io.BytesIO()
    stream.write(file, codec.block_coder(stream.header.coder))
    return file.getvalue()


def decode_picture(codec: "ImageCodec", stream: "OpenStream", job: Job, force: bool, report: Report) -> dict[str, Any]:
    """Decodes a picture's stream, reports it and its damage, and returns its figures."""
    from vqaudio.io.image import check_suffix, write_picture

    suffix = ".png" if job.target == STANDARD else check_suffix(job.target)
    codec.check(stream.reader.header)
    with announced_compiling(report):
        codec.warm_coder(stream.reader.header.coder)
    started = time.perf_counter()
    with binary_output(job.target, force) as file, report.progress(job.name) as progress:
        whole = codec.read_from(stream.reader)
        write_picture(file, codec.decode(whole, progress=progress), suffix)
    size = stream.finish(()).stream_bytes
    facts = _figures(whole.header, size, job, time.perf_counter() - started) | {"damage": damage_facts(whole)}
    report.result(_line(facts), facts)
    report_damage(whole, job.name, report)
    return facts


# --------------------------------------------------------------------------------------------------- what is damaged


def _lost_tiles(stream: "Stream", damage: "Damage") -> range:
    """Numbers, from 1 and row by row, of the tiles that ``damage`` costs."""
    tile_tokens = stream.header.tokens // stream.header.grid[0]
    return range(damage.first_token // tile_tokens + 1, damage.last_token // tile_tokens + 2)


def damage_facts(stream: "Stream") -> list[dict[str, Any]]:
    """Segments of lost tiles, for programs; tiles count from 1, row by row."""
    lost = [_lost_tiles(stream, damage) for damage in stream.damage]
    return [{"first_tile": tiles[0], "last_tile": tiles[-1]} for tiles in lost]


def report_damage(stream: "Stream", name: str, report: Report) -> None:
    """Makes each damaged part of the stream ``name`` a failure."""
    lines = [
        f"tiles {tiles[0]} to {tiles[-1]} of {stream.header.grid[0]}, row by row, are damaged and grey"
        for tiles in (_lost_tiles(stream, damage) for damage in stream.damage)
    ] or list(stream.messages)
    report.damaged(name, lines)


# --------------------------------------------------------------------------------------------- facts, new pictures


def picture_stream_facts(stream: "OpenStream", source: str, report: Report) -> dict[str, Any]:
    """What is known of a picture's stream; its damage is reported."""
    from vqaudio.codecs.bundled import find_bundled, find_coder

    header = stream.reader.header
    height, width = header.shape
    coder = find_coder(header)
    codes = _code_facts(stream, coder, source, report) if coder else {}
    coded = stream.finish(())
    for message in [] if codes else coded.messages:
        report.failure(source, message)
    size = coded.stream_bytes
    return {
        "width": width,
        "height": height,
        "tiles": header.grid[0],
        "bytes": size,
        "bits_per_pixel": 8 * size / (height * width),
        "raw_bits_per_pixel": header.tokens * header.bits / (height * width),
        "tokens": header.tokens,
        "codebook_size": header.codebook_size,
        "coder": header.coder.name.lower(),
        "model": find_bundled(header.model_sha256),
        "model_sha256": header.model_sha256.hex(),
        "messages": list(coded.messages),
        **codes,
    }


def _code_facts(stream: "OpenStream", coder: "BlockCoder", source: str, report: Report) -> dict[str, Any]:
    """How many of the model's codes occur, how evenly, and which are lost."""
    import numpy as np

    from vqaudio.bitstream.stream import Stream

    whole = Stream.read_from(stream.reader, coder)
    report_damage(whole, source, report)
    counts = np.bincount(whole.tokens.ravel(), minlength=stream.reader.header.codebook_size)
    shares = counts[counts > 0] / counts.sum()
    entropy = float((shares * np.log2(1 / shares)).sum())
    return {"codes_used": len(shares), "entropy_bits": entropy, "damage": damage_facts(whole)}


def sample_pictures(
    codec: "ImageCodec",
    output: str | None,
    count: int,
    seed: int,
    temperature: float,
    top_p: float,
    label: str | None,
    force: bool,
    report: Report,
) -> None:
    """Draws new pictures, and writes them side by side as one or, where ``output`` ends in .vqa, as a stream."""
    from vqaudio.io.image import check_suffix, write_picture

    target = output or "sample.png"
    as_stream = Path(target).suffix.lower() == ".vqa"
    suffix = ".png" if as_stream or target == STANDARD else check_suffix(target)
    with announced_compiling(report), report.progress("drawing codes") as progress:
        tiles = codec.sample(count, seed=seed, temperature=temperature, top_p=top_p, label=label, progress=progress)
    stream = codec.side_by_side(tiles)
    with report.guard(target), binary_output(target, force) as file:
        if as_stream:
            file.write(_as_bytes(codec, stream))
        else:
            write_picture(file, codec.decode(stream), suffix)
    height, width = stream.header.shape
    if not report.failed:
        line = f"{target}: {count} new pictures, {width} x {height}"
        report.result(line, {"output": target, "count": count, "width": width, "height": height})


def evaluate_images(
    model: str,
    source: Path,
    output: Path | None,
    limit: int,
    pictures: Path | None,
    device: str,
    force: bool,
    report: Report,
) -> None:
    """Evaluates a model of pictures: figures into the JSON file ``output``, pictures into the folder given."""
    from vqaudio.codecs.image import load_images
    from vqaudio.evaluation.image import evaluate_pictures

    codec = load_images(model, device)
    if pictures and pictures.exists() and not force:
        raise OutputError(f"{pictures} exists; use --force to overwrite what is in it")
    with ExitStack() as files:  # refused now, if at all, and not after an hour's work
        document = files.enter_context(binary_output(str(output), force)) if output else None
        with announced_compiling(report):
            codec.warm_coder(codec.default_coder())
        result = evaluate_pictures(codec, source, limit, report.tracked, pictures)
        if document:
            document.write(json.dumps(asdict(result), indent=1).encode())
    for line in _evaluation_lines(result):
        report.result(line, {})
    for line in result.failed:
        report.failure("", line)


def _evaluation_lines(result: "ImageEvaluation") -> list[str]:
    """A table of an evaluation: a metric a line, bits a dim but for the last, and the ends of its 95 % interval."""
    lines = [f"{'bits a dim':<24} {'mean':>8}   95 % interval"]
    for name, mean in result.means.items():
        lines.append(f"{name.replace('_', ' '):<24} {mean.value:>8.3f}   {mean.low:.3f} to {mean.high:.3f}")
    used = f"{result.codes_used} of {result.codebook_size} codes used, {result.code_entropy_bits:.2f} bits of entropy"
    return [*lines, f"{len(result.pictures)} pictures; {used}"]
