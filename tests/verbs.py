"""The program's verbs, for tests that hold something of each."""

from typing import Any

import typer

from vqaudio.cli import main as cli
from vqaudio.cli.options import app


def verbs(group: Any = None, names: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every verb, by its words."""
    assert cli.VERBS  # they add themselves
    group = typer.main.get_command(app) if group is None else group
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        words = (*names, name)
        found |= verbs(command, words) if hasattr(command, "commands") else {words: command}
    return found
