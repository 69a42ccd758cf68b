"""Models on the Hugging Face hub: fetched by ``hf://owner/name[@revision]``, and put there.

A repository holds the files of a model's folder and ``SHA256SUMS``, their checksums, which are held against what came.
Only these files are fetched, and none of them can run anything. A revision is a branch, a tag or, to be sure that it
never changes, a commit.
"""

import hashlib
import re
from pathlib import Path

from vqaudio.errors import ModelError
from vqaudio.io.extras import needed
from vqaudio.models import folder as folders
from vqaudio.models.sources import SOURCES_FILE

PREFIX = "hf://"
SUMS_FILE, CARD_FILE = "SHA256SUMS", "CARD.md"
_FILES = (folders.CONFIG_FILE, folders.WEIGHTS_FILE, SOURCES_FILE, CARD_FILE)
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def fetch(address: str) -> Path:
    """The folder of the model at ``address``, fetched unless it is in the cache of huggingface_hub.

    Raises:
        ModelError: the address is none, there is no such model, the hub cannot be reached, or a checksum is wrong.
        ConfigError: huggingface_hub is not installed.
    """
    repository, revision = _parsed(address)
    hub = needed("huggingface_hub", "hub", PREFIX)
    errors = needed("huggingface_hub.errors", "hub", PREFIX)
    try:
        names = [*_FILES, SUMS_FILE]
        folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=names))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, ValueError, OSError) as error:
        raise ModelError(f"{address}: cannot be fetched ({_line(error)}); check the name and your connection") from None
    _check(address, folder)
    return folder


def push(folder: Path, address: str, message: str = "", private: bool = False) -> str:
    """Puts the model in ``folder`` on the hub, and makes the repository if need be.

    Args:
        folder: of a model.
        address: ``hf://owner/name``, or with ``@branch``, which must be there.
        message: of the commit.
        private: whether a new repository is.

    Returns:
        The address with the commit, which names these very bytes for ever.

    Raises:
        ModelError: the folder is no model, or the hub refuses it.
        ConfigError: huggingface_hub is not installed.
    """
    repository, revision = _parsed(address)
    fingerprint = folders.fingerprint(folder).hex()
    hub = needed("huggingface_hub", "hub", "push")
    errors = needed("huggingface_hub.errors", "hub", "push")
    files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).is_file()}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    files[SUMS_FILE] = sums.encode()
    operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    api = hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        words = message or f"Model {fingerprint[:12]}"
        commit = api.create_commit(repository, operations, commit_message=words, revision=revision)
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, ValueError, OSError) as error:
        raise ModelError(f"{address}: is refused ({_line(error)}); log in: 'hf auth login'") from None
    return f"{PREFIX}{repository}@{commit.oid}"


def _parsed(address: str) -> tuple[str, str | None]:
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise ModelError(f"{address}: is no address on the hub; give hf://owner/name or hf://owner/name@revision")
    return found[1], found[2]


def _check(address: str, folder: Path) -> None:
    """Holds what was fetched against its checksums."""
    path = folder / SUMS_FILE
    if not path.is_file():
        raise ModelError(f"{address}: has no {SUMS_FILE}, so it was not put there by 'vqaudio push'; push it anew")
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines() if "  " in line)
    known = {name: digest for digest, name in pairs}
    for name in (*(name for name in _FILES if (folder / name).is_file()), *known):
        there = (folder / name).is_file() if name in _FILES else False
        if not there or hashlib.sha256((folder / name).read_bytes()).hexdigest() != known.get(name):
            raise ModelError(f"{address}: the checksum of {name} is wrong; push it anew, or give another revision")


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
