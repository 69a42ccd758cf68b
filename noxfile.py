"""The package as users get it, on every Python that it is for.

    nox                     # all of them; a Python that is not installed is skipped, and nox says so
    nox -s smoke-3.12       # one

`make test` runs the whole suite on one Python; this shows that the wheel installs and codes speech on each.
"""

import tempfile
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
HERE = Path(__file__).resolve().parent

nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def smoke(session: nox.Session) -> None:
    """The wheel is built and installed, with the versions of constraints.txt and no extra; it codes and decodes."""
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(HERE))
        (wheel,) = Path(folder).glob("*.whl")
        session.install("-c", str(HERE / "constraints.txt"), str(wheel))
        session.chdir(folder)  # where no vqaudio lies but the installed one
        session.run("python", str(HERE / "tests" / "smoke.py"), env={"PYTHONPATH": ""})
