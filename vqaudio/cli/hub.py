"""The verb that puts a model on the Hugging Face hub."""

import json
from typing import Annotated

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.options import JsonOption, VerboseOption, app


@app.command(epilog="Example: vqaudio push runs/mine/model somebody/mine --private")
def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundled model's name or a folder.")],
    address: Annotated[str, typer.Argument(metavar="OWNER/NAME[@BRANCH]", help="Where it goes; hf:// may lead it.")],
    message: Annotated[str, typer.Option("--message", help="Of the commit.")] = "",
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Puts a model on the Hugging Face hub; prints the address that names these very bytes."""
    from vqaudio.codecs.bundled import model_folder
    from vqaudio.codecs.hub import PREFIX
    from vqaudio.codecs.hub import push as put

    with Report(quiet=False, verbose=verbose).timed(f"sending {model}"):
        found = put(model_folder(model), PREFIX + address.removeprefix(PREFIX), message, private)
    print(json.dumps({"model": model, "address": found}, indent=1) if as_json else found)
