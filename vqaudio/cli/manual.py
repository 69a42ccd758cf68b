"""The manual page (man 1), made of the program itself: ``python -m vqaudio.cli.manual > vqaudio.1``."""

import re
import sys
from typing import Any

import typer

from vqaudio import __version__
from vqaudio.cli import main as program
from vqaudio.cli.options import app

_EXITS = (
    ("0", "All went well."),
    ("1", "Something failed; the rest is done, and each failure is one line on standard error."),
    ("2", "Wrong usage."),
    ("129, 130, 143", "The terminal hung up, Ctrl-C, or the program was terminated."),
)
_VARIABLES = (
    ("NO_COLOR", "No colours, whatever its value."),
    ("VQAUDIO_DEBUG", "With the value 1, a failure also shows where in the program it comes from."),
)


def page() -> str:
    """The whole page, in roff."""
    assert program.VERBS  # which have added themselves to the program
    root = typer.main.get_command(app)
    lines = [f'.TH VQAUDIO 1 "" "vqaudio {__version__}" "User Commands"', ".SH NAME", "vqaudio \\- a speech codec"]
    lines += [".SH SYNOPSIS", ".B vqaudio", "VERB [OPTIONS] ...", ".SH DESCRIPTION", *_paragraphs(root.help or "")]
    lines += [".SH OPTIONS", *_options(root), ".SH VERBS", *_verbs(root, "vqaudio")]
    lines += [".SH EXIT STATUS", *_list(_EXITS), ".SH ENVIRONMENT", *_list(_VARIABLES)]
    return "\n".join(lines) + "\n"


def _verbs(group: Any, path: str) -> list[str]:
    lines = []
    for name, command in sorted(group.commands.items()):
        words = f"{path} {name}"
        if hasattr(command, "commands"):
            lines += _verbs(command, words)
            continue
        lines += [f'.SS "{words}"', *_usage(command, words), *_paragraphs(command.help or "")]
        lines += [*_options(command), *_paragraphs(command.epilog or "")]
    return lines


def _usage(command: Any, words: str) -> list[str]:
    pieces = command.collect_usage_pieces(_context(command))
    return [f".B {_text(words)}", _text(" ".join(pieces)), ".PP"]


def _context(command: Any) -> Any:
    return command.make_context(command.name, [], resilient_parsing=True)


def _options(command: Any) -> list[str]:
    """Arguments and options, each as its help has it."""
    context = _context(command)
    return _list(record for record in (one.get_help_record(context) for one in command.params) if record)


def _list(rows: Any) -> list[str]:
    return [line for name, text in rows for line in (".TP", f".B {_text(name)}", _text(text))]


def _paragraphs(text: str) -> list[str]:
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]
    return [line for part in parts if part for line in (".PP", _text(part))]


def _text(text: str) -> str:
    """Plain text, so that nothing in it is a command to roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
