"""The words a person types about raw data: `lodestone reconstruct`."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def reconstruct(
    file: Annotated[Path, typer.Argument(help="ISMRMRD .h5, MRD stream .mrd, or Siemens .dat.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the images go.")] = Path("lodestone-out"),
    recipe: Annotated[str, typer.Option(help="Recipe whose [reconstruction] is used.")] = "default",
    method: Annotated[str | None, typer.Option("--method", "-m", help="This reconstruction instead.")] = None,
    without_noise: Annotated[bool, typer.Option("--without-noise", help="Go on without a noise scan.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Processor threads; 0 takes all.")] = 0,
    as_json: Json = False,
) -> None:
    """Make echo images of raw data (k-space): magnitude, phase, noise, and a picture to look at.

    A sidecar beside the file (`scan.toml` or `scan.json`) states patient and study, and what the header lacks.

    Example: `lodestone reconstruct scan.h5 --out images`
    """
    from node.commands.reconstruct import Wanted, reconstruct_file

    reconstruct_file(Wanted(file, out, recipe, method, without_noise, device, threads, as_json))
