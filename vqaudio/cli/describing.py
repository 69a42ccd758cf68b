"""The verbs that tell: info and models."""

import json
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from vqaudio.cli.console import (
    Report,
)
from vqaudio.cli.jobs import (
    damage_facts,
    report_damage,
)
from vqaudio.cli.options import JsonOption, app
from vqaudio.cli.paths import STANDARD, binary_input
from vqaudio.cli.pictures import picture_stream_facts
from vqaudio.errors import ModelError


@app.command(epilog="Example: vqaudio info talk.vqa --json")
def info(
    what: Annotated[str, typer.Argument(metavar="FILE|MODEL", help="A stream, a bundled model's name or its folder.")],
    as_json: JsonOption = False,
) -> None:
    """What a stream or a model is: sizes, true bit rate, damage."""
    report = Report(quiet=False)
    with report.guard(what):
        is_stream = what == STANDARD or os.path.isfile(what)
        facts = _stream_facts(what, report) if is_stream else _model_facts(what)
        print(json.dumps(facts, indent=1) if as_json else _as_lines(facts))
    report.finish()


def _as_lines(facts: dict[str, Any]) -> str:
    """``name: value`` lines of what is known; nested values as JSON."""
    facts = {name: value for name, value in facts.items() if value not in (None, "", (), [])}
    width = max(map(len, facts))
    words = {
        name: json.dumps(value) if isinstance(value, dict | list | tuple) else value for name, value in facts.items()
    }
    words = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in words.items()}
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {value}" for name, value in words.items())


def _stream_facts(source: str, report: Report) -> dict[str, Any]:
    from vqaudio.bitstream.header import Modality
    from vqaudio.codecs.files import OpenStream, stream_facts

    with binary_input(source) as file:
        stream = OpenStream(file)
        if stream.reader.header.modality is Modality.IMAGE:
            return picture_stream_facts(stream, source, report)
        facts = stream_facts(stream)
    coded, header = facts.coded, facts.coded.header
    report_damage(coded, source, report)
    return {
        "duration_s": coded.duration_s,
        "samples": header.shape[0],
        "channels": header.channels,
        "sample_rate_hz": header.sample_rate_hz,
        "bytes": coded.stream_bytes,
        "bits_per_second": coded.bits_per_second,
        "raw_bits_per_second": header.tokens * header.channels * header.bits / coded.duration_s
        if header.tokens
        else None,
        "tokens": header.tokens,
        "codes_used": facts.codes_used,
        "codebook_size": header.codebook_size,
        "entropy_bits": facts.entropy_bits,
        "coder": header.coder.name.lower(),
        "model": facts.model,
        "model_sha256": header.model_sha256.hex(),
        "damage": damage_facts(coded),
        "messages": list(coded.messages),
    }


def _model_facts(model: str) -> dict[str, Any]:
    from vqaudio.codecs.bundled import model_folder
    from vqaudio.codecs.facts import facts_of

    try:
        folder = model_folder(model)
    except ModelError as error:
        raise ModelError(f"{error}, or the path of a stream that exists") from None
    return asdict(facts_of(folder))


@app.command(epilog="Example: vqaudio models voices")
def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A bundled model or a folder, to list its speakers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The models that come with the package, or the speakers of one."""
    from vqaudio.codecs.bundled import bundled

    if model is not None:
        _list_speakers(_model_facts(model), as_json)
        return
    found = [_model_facts(name) for name in bundled()]
    if as_json:
        print(json.dumps({"models": found}, indent=1))
        return
    print(f"{'name':<12} {'Hz':>7} {'tokens/s':>9} {'codes':>6} {'kb/s':>6} {'parameters':>11} {'MB':>6}  speakers")
    for facts in found:
        size = f"{facts['parameters']:>11} {facts['size_bytes'] / 1e6:>6.1f}"
        if "tile" in facts:
            what = f"pictures: {facts['bits_per_pixel']:.2f} bits a pixel in tiles of {facts['tile']} x {facts['tile']}"
            print(f"{facts['name']:<12} {'-':>7} {'-':>9} {facts['codebook_size']:>6} {'-':>6} {size}  {what}")
            continue
        code = f"{facts['tokens_per_second']:>9.1f} {facts['codebook_size']:>6} {facts['bits_per_second'] / 1000:>6.2f}"
        print(f"{facts['name']:<12} {facts['sample_rate_hz']:>7} {code} {size}  {len(facts['speakers']) or 'any'}")


def _list_speakers(facts: dict[str, Any], as_json: bool) -> None:
    """Those with a minute of training and more a line each, then the names of the others."""
    nothing_known = [{"name": name, "gender": "", "minutes": 0.0} for name in facts.get("speakers", ())]
    known = facts["training"].get("speakers", nothing_known)
    licence = facts["training"].get("licence", "")
    if as_json:
        print(json.dumps({"model": facts["name"], "licence": licence, "speakers": known}, indent=1))
        return
    if not known:
        print(f"{facts['name']} knows no speakers")
        return
    ordered = sorted(known, key=lambda one: -one["minutes"])
    print(f"{'speaker':<10} {'gender':<7} {'minutes':>7}")
    for one in ordered:
        if one["minutes"] >= 1:
            print(f"{one['name']:<10} {one['gender']:<7} {one['minutes']:>7.1f}")
    others = [f"{one['name']} {one['gender']}".strip() for one in ordered if one["minutes"] < 1]
    if others:
        print(f"with less than a minute each: {', '.join(others)}")
    if licence:
        print(licence)
