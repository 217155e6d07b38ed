"""The rules of the house that no linter knows."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("node", "dicom_io", "pipeline", "db")
TOP_LEVEL = {"node", "dicom_io", "pipeline", "db", "tests", "deploy"}
TOP_LEVEL |= {"pyproject.toml", "constraints.txt", "README.md", "CHANGELOG.md", "LICENSE", "Makefile"}
BROAD_EXCEPT_ALLOWED = {"node/worker.py", "dicom_io/network/storage_scp.py", "node/web/site.py"}
VAGUE_NAMES = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}


def source_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", source_files(*PACKAGES, "tests"), ids=relative)
def test_a_file_has_at_most_five_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", source_files(*PACKAGES), ids=relative)
def test_a_module_says_in_its_first_line_what_it_is_responsible_for(path: Path) -> None:
    if path.name == "__init__.py":
        return
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{relative(path)} has no module docstring"
    assert docstring.splitlines()[0].rstrip().endswith((".", ":", "?")), f"{relative(path)}: first line is no sentence"


@pytest.mark.parametrize("path", source_files(*PACKAGES), ids=relative)
def test_no_import_inside_a_function_hides_a_cycle(path: Path) -> None:
    tree = ast.parse(path.read_text())
    own = [
        f"line {inner.lineno}"
        for function in functions(tree)
        for inner in ast.walk(function)
        if isinstance(inner, ast.ImportFrom) and (inner.module or "").split(".")[0] in PACKAGES
    ]
    if relative(path).startswith("node/commands/") or relative(path) == "node/cli.py":
        # A command imports torch only when it runs, so that --help answers at once.
        return
    assert not own, f"{relative(path)} imports inside a function: {own}"


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [relative(path) for path in source_files(*PACKAGES, "tests") if path.name in VAGUE_NAMES]


def test_broad_excepts_stand_in_three_places_only() -> None:
    broad = re.compile(r"^\s*except(\s*:|\s+(BaseException|Exception)\b)", re.MULTILINE)
    found = {relative(path) for path in source_files(*PACKAGES) if broad.search(path.read_text())}
    assert found <= BROAD_EXCEPT_ALLOWED


def test_tests_wait_on_an_assertion_and_never_sleep() -> None:
    sleeping = re.compile(r"\b(time|asyncio)\.sleep\(|\bfrom time import [^\n]*\bsleep\b")
    me = Path(__file__)
    assert not [relative(path) for path in source_files("tests") if path != me and sleeping.search(path.read_text())]


def test_the_top_level_holds_only_what_the_project_is_made_of() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    built = {"build", "dist", "demo", "__pycache__"} | {name for name in visible if name.endswith(".egg-info")}
    assert visible - built <= TOP_LEVEL


def test_each_package_has_one_error_tree_with_transient_and_permanent() -> None:
    for package in ("node", "dicom_io", "pipeline"):
        text = (ROOT / package / "errors.py").read_text()
        tree = ast.parse(text)
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        drawn = ast.get_docstring(tree) or ""
        assert {"Permanent", "Transient"} <= classes
        assert not [name for name in classes if name not in drawn], f"{package}/errors.py does not draw its whole tree"


def test_constraints_are_plain_pins_without_addresses() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", line) for line in lines)
    assert "torch==2.13.0" in lines


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=~! ]", entry)[0].lower().replace("_", "-") for entry in wanted}
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    assert names <= pinned


def test_the_project_never_names_a_machine_or_a_registry() -> None:
    forbidden = re.compile("|".join(["/" + "work/", "/" + "farm/", "index" + "-url", "find" + "-links", r"pypi\.org"]))
    suffixes = {".py", ".toml", ".md", ".txt", ".sh", ".yaml", ".yml", ".html", ""}
    skipped = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__", "demo"}
    for path in ROOT.rglob("*"):
        parts = set(path.relative_to(ROOT).parts)
        if parts & skipped or any(part.endswith(".egg-info") for part in parts) or not path.is_file():
            continue
        if path.suffix in suffixes:
            assert not forbidden.search(path.read_text(errors="ignore")), relative(path)
