"""Which software computes: version, revision of the code, and versions of the libraries that touch a voxel."""

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from node import __version__

PACKAGES = ("node", "dicom_io", "pipeline", "db")
LIBRARIES = ("torch", "numpy", "scipy", "warpkit", "pydicom", "highdicom", "pynetdicom", "SimpleITK", "dbos")
_ROOT = Path(__file__).resolve().parent.parent


def software() -> dict[str, str]:
    """Return name → version of everything that can change a voxel, for the record of a run."""
    found = {"lodestone": __version__, "code_revision": code_revision(), "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


@cache
def code_revision() -> str:
    """Return a name of the code that runs: a digest of its source files, behind git's commit where there is one.

    The digest tells the truth also where files were changed after the commit, or where there is no repository.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in (".py", ".toml") and path.is_file():
                digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    source = f"source-{digest.hexdigest()[:12]}"
    commit = _commit()
    return f"{commit}+{source}" if commit else source


def _commit() -> str | None:
    if not (_ROOT / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
