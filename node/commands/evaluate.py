"""`lodestone evaluate`: how good networks are on held-out simulations, beside every classical method."""

from pathlib import Path
from typing import Annotated

import typer

Networks = Annotated[list[str] | None, typer.Argument(help="Names of networks, e.g. lodestone_net xqsm.")]
All = Annotated[bool, typer.Option("--all", help="Every network of the table.")]
Classical = Annotated[
    bool, typer.Option("--classical/--no-classical", help="Also every classical method, at default and tuned weights.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Few samples, in a tenth of the time.")]
Seeds = Annotated[str, typer.Option(help="report, or tuning: the samples on which settings may be chosen.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Write tables and pictures into this folder; go on with what it holds.", file_okay=False
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="The folder of the weights; the package's own otherwise.", file_okay=False)
]
Claims = Annotated[bool, typer.Option("--claims", help="Re-test what the networks' papers claim.")]
Structures = Annotated[bool, typer.Option("--structures", help="Count invented and lost veins, rims and bleeds.")]
Tune = Annotated[
    bool, typer.Option("--tune", help="Only search the classical methods' best weights, on the tuning seeds.")
]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Only measure what the trust in a network's maps rests on, and store it.")
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Processes of one thread each; 0: one per core.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def evaluate(
    networks: Networks = None,
    every: All = False,
    classical: Classical = True,
    quick: Quick = False,
    seeds: Seeds = "report",
    out: Out = None,
    weights: Weights = None,
    claims: Claims = False,
    structures: Structures = False,
    tune: Tune = False,
    calibrate: Calibrate = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Print how near the maps of networks come to known truths, with 95 % intervals, beside classical methods.

    Example: `lodestone evaluate lodestone_net --quick`, `lodestone evaluate --all --out evaluation`
    """
    from node.commands.evaluate_run import Options, run_evaluation

    options = Options(
        tuple(networks or ()),
        every,
        classical,
        quick,
        seeds,
        out,
        weights,
        claims,
        structures,
        tune,
        calibrate,
        threads,
        as_json,
    )
    run_evaluation(options)
