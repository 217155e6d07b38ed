"""The commands that look at files without mapping them: `lodestone inspect` and `lodestone route`."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", "-c", help="The node's settings, whose rules decide.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def inspect(
    folder: Annotated[
        Path, typer.Argument(help="Folder of DICOM files, or one file, of raw data too (.h5, .mrd, .dat).", exists=True)
    ],
    config: Config = None,
    pictures: Annotated[Path | None, typer.Option(help="Write a picture of each series into this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what is in a folder, series by series, what Lodestone would do with it, and why not.

    Example: `lodestone inspect FOLDER`, or by a site's rules `lodestone inspect FOLDER -c site/node.toml`
    """
    from dicom_io.kspace.formats import SUFFIXES

    if folder.is_file() and folder.suffix.lower() in SUFFIXES:
        from node.commands.inspect_raw import inspect_raw

        inspect_raw(folder, as_json)
        return
    from node.commands.inspect import inspect_folder

    inspect_folder(folder, config, as_json, pictures)


def route(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="DICOM files or folders.", exists=True)],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Explain which rule would take some files, and why the others would not, value by value.

    Without `--config` it is the node.toml here, else the usual rule.

    Example: `lodestone route IM0001 IM0002 -c site/node.toml`
    """
    from node.commands.route import explain_routes

    explain_routes(files, config, as_json)
