"""Machine code kept on the disk, and fetched by LLVM alone: Numba, which made it, takes a third of a second to import.

A kernel for arguments of certain types is a file: a line of JSON, then two object files. It lies where Numba keeps its
own: in ``NUMBA_CACHE_DIR`` if that is set, else beside the kernels, else in the user's cache folder. Code of other
sources, of another processor or of another Numba is not found, for all that is part of its name.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from llvmlite import binding

_HERE = Path(__file__).parent
_FORMAT = "vqaudio kernel 1"
_LINE = 1 << 16  # bytes that the line may have
_LOCK = threading.Lock()
RELEASE = (
    "NRT_MemInfo_call_dtor"  # Numba's, of arrays that nobody owns: here all are the caller's, so it is never called
)
_OTHER_SETTINGS = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")  # Numba's, which change no code


class Code(NamedTuple):
    """A kernel's object file ``body``, and what it ``needs`` to find in the process, by name; another object file, the
    ``door`` by which it is called, whose function is ``symbol``."""

    symbol: str
    needs: tuple[str, ...]
    body: bytes
    door: bytes


@functools.cache
def processor() -> tuple[str, str, str]:
    """For whom code is made, as Numba says it: the target's triple, the processor's name, and what it can do."""
    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    able = os.environ.get("NUMBA_CPU_FEATURES")
    if able is None:
        able = "" if name == "generic" else binding.get_host_cpu_features().flatten()
    return binding.get_process_triple(), name, able


@functools.cache
def _made_with() -> bytes:
    """A digest of all that code depends on beside its own arguments."""
    digest = hashlib.sha256(f"{_FORMAT} {sys.version} {binding.llvm_version_info} {processor()}".encode())
    settings = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    digest.update(json.dumps({n: v for n, v in sorted(settings.items()) if n not in _OTHER_SETTINGS}).encode())
    found = importlib.util.find_spec("numba")
    if found is not None and found.origin is not None:
        version = Path(found.origin).with_name("_version.py")
        digest.update(version.read_bytes() if version.exists() else Path(found.origin).read_bytes())
    for source in sorted(_HERE.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.digest()


@functools.cache
def _folder() -> Path | None:
    """Where code is kept, or None where no folder can be written to."""
    own = hashlib.sha256(str(_HERE).encode()).hexdigest()[:16]
    given = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    places = [Path(given) / f"vqaudio-{own}"] if given else [_HERE / "__pycache__", Path(cache) / f"vqaudio-{own}"]
    for place in places:
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    return None


def _file(name: str, kinds: str) -> Path | None:
    key = hashlib.sha256(_made_with() + f"{name} {kinds}".encode()).hexdigest()[:24]
    return None if (folder := _folder()) is None else folder / f"{name}.{key}.kernel"


def kept(name: str, kinds: str) -> Code | None:
    """The code of the kernel ``name`` for arguments of these ``kinds``, or None where none lies ready, or is whole."""
    path = _file(name, kinds)
    try:
        if path is None:
            return None
        with open(path, "rb") as file:
            said, both = json.loads(file.readline(_LINE)), file.read()
        if said["sha256"] != hashlib.sha256(both).hexdigest():
            return None
        return Code(said["symbol"], tuple(said["needs"]), both[: said["size"]], both[said["size"] :])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(name: str, kinds: str, code: Code) -> None:
    """Keeps code for :func:`kept`, whole or not at all; where nothing can be written, nothing is."""
    path = _file(name, kinds)
    if path is None:
        return
    both = code.body + code.door
    said = {"symbol": code.symbol, "needs": code.needs, "size": len(code.body)}
    said["sha256"] = hashlib.sha256(both).hexdigest()
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_bytes(json.dumps(said).encode() + b"\n" + both)
        os.replace(draft, path)
    except OSError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def _machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    _, name, able = processor()
    return target.create_target_machine(cpu=name, features=able, codemodel="jitdefault", jit=True)


@functools.cache
def _engine() -> Any:
    module = f"define void @{RELEASE}(i64 %owner) {{\n ret void\n}}\n"
    return binding.create_mcjit_compiler(binding.parse_assembly(module), _machine())


def compiled(module: str) -> bytes:
    """The object file of a module in LLVM's language."""
    body: bytes = _machine().emit_object(binding.parse_assembly(module))
    return body


def can_be_loaded(code: Code) -> bool:
    """Says whether all that the code needs is found; LLVM would end the process otherwise."""
    process = ctypes.CDLL(None)
    return all(hasattr(process, name) for name in code.needs)


def address(code: Code) -> int:
    """Loads code, which stays for the life of the process, and gives the address of its function."""
    with _LOCK:
        engine = _engine()
        for part in (code.body, code.door):
            engine.add_object_file(binding.ObjectFileRef.from_data(part))
        engine.finalize_object()
        found: int = engine.get_function_address(code.symbol)
        return found


def undefined(body: bytes) -> tuple[str, ...] | None:
    """What an object file needs from elsewhere, by name; None where it is no ELF file of 64 bits, little-endian."""
    if body[:6] != b"\x7fELF\x02\x01":
        return None
    sections_at, size, count = struct.unpack_from("<40xQ10xHH", body)
    names: set[str] = set()
    for number in range(count):
        _, kind, _, _, at, length, link = struct.unpack_from("<IIQQQQI", body, sections_at + number * size)
        if kind != 2:  # a table of symbols
            continue
        (strings_at,) = struct.unpack_from("<24xQ", body, sections_at + link * size)
        for entry in range(at + 24, at + length, 24):  # the first stands for none
            name, _, _, section = struct.unpack_from("<IBBH", body, entry)
            if section == 0:
                begin = strings_at + name
                names.add(body[begin : body.index(b"\0", begin)].decode())
    return tuple(sorted(names - {""}))
