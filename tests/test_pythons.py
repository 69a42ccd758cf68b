"""The Pythons that the package says it is for are those on which nox tries it."""

import ast
import tomllib

from test_house import ROOT

PREFIX = "Programming Language :: Python :: 3."


def tried() -> list[str]:
    """PYTHONS of noxfile.py."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    (value,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PYTHONS")
    found: list[str] = ast.literal_eval(value)
    return found


def test_what_is_claimed_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    claimed = [f"3.{one.removeprefix(PREFIX)}" for one in project["classifiers"] if one.startswith(PREFIX)]
    assert claimed == tried()
    assert project["requires-python"] == f">={tried()[0]}"
