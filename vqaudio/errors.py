"""One family of errors: everything that a user can cause derives from :class:`VqaudioError`.

The message of each is one line that says what is wrong, where, and what to do about it. The command line prints that
line and nothing else; a program catches ``VqaudioError``. Bugs raise ``AssertionError`` and are never caught.
"""


class VqaudioError(Exception):
    """Base of all errors that input, configuration or the machine can cause."""


class ConfigError(VqaudioError):
    """A configuration has an unknown key or a bad value."""


class SoundError(VqaudioError):
    """A sound file cannot be read, written or coded."""


class MissingSoundError(SoundError, FileNotFoundError):
    """There is no such sound file."""


class PictureError(VqaudioError):
    """A picture file cannot be read, written or coded."""


class ContainerError(VqaudioError):
    """A .vqa stream is not one, is refused, or is damaged beyond use."""


class MissingStreamError(ContainerError, FileNotFoundError):
    """There is no such .vqa file."""


class OutputError(VqaudioError):
    """An output file cannot be written where it was asked for."""


class ModelError(VqaudioError):
    """A model is unknown, unreadable, or not the one that a stream was made with."""


class DataError(VqaudioError):
    """A corpus or a folder of shards cannot be used."""
