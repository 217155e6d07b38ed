"""`lodestone bench`: how accurate and how fast every method is, on phantoms whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from node.commands.console import FAILED

bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure how accurate and how fast the methods are, on phantoms whose truth is known.",
)

Names = list[str] | None
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Processor threads; 0 takes all.")]
Step = Annotated[Names, typer.Option("--step", "-s", help="Only this step, or `chain` for whole recipes; repeatable.")]
Method = Annotated[Names, typer.Option("--method", "-m", help="Only methods of this name; repeatable.")]
PeerPhantom = Annotated[
    Path | None,
    typer.Option(
        help="Folder with phantom.npz: also measure what must be reached on it.", exists=True, file_okay=False
    ),
]


@bench.command()
def accuracy(
    step: Step = None,
    method: Method = None,
    family: Annotated[Names, typer.Option("--family", "-f", help="Only this phantom family; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One coarse scan per family, in a tenth of the time.")] = False,
    seeds: Annotated[
        str, typer.Option(help="report, or tuning: the heads on which settings may be chosen.")
    ] = "report",
    peer_phantom: PeerPhantom = None,
    full: Annotated[bool, typer.Option("--full", help="Print every figure, not only the first of each step.")] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Print the table of methods × phantoms with mean and worst case.

    Example: `lodestone bench accuracy --quick --step dipole_inversion`
    """
    from node.commands.bench_accuracy import Wanted, bench_accuracy

    wanted = Wanted(tuple(step or ()), tuple(method or ()), tuple(family or ()), quick, seeds)
    bench_accuracy(wanted, peer_phantom, full, threads, as_json)


@bench.command()
def speed(
    step: Step = None,
    method: Method = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small volume; ratios are less sure.")] = False,
    scaling: Annotated[
        Path | None, typer.Option(help="Also time at 0.5, 1, 2 and 4 million voxels; write this PNG.", dir_okay=False)
    ] = None,
    peer_phantom: PeerPhantom = None,
    gpu: Annotated[bool, typer.Option("--gpu/--no-gpu", help="Time the default chain on a GPU where one is.")] = True,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Print each method's time in FFT pairs and its memory in volumes, beside peers that are installed.

    Example: `lodestone bench speed --scaling scaling.png`
    """
    from node.commands.bench_speed import Wanted, bench_speed

    wanted = Wanted(tuple(step or ()), tuple(method or ()), quick)
    bench_speed(wanted, scaling, peer_phantom, gpu, threads, as_json)


@bench.command()
def reading(
    mutations: Annotated[int, typer.Option(min=0, help="How many damaged headers to read.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Decides every mutation.")] = 1,
    series: Annotated[
        Path | None, typer.Option(help="Also damage the real series below this folder.", exists=True, file_okay=False)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the mutations.")] = 1,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Also time the reader beside pydicom.")] = True,
    as_json: Json = False,
) -> None:
    """Read every simulated scanner's series, damage their headers, and count what is misread: nothing may be.

    Example: `lodestone bench reading --mutations 10000 --series scans`
    """
    from node.commands.bench_reading import bench_reading

    if not bench_reading(mutations, seed, series, jobs, speed, as_json):
        raise typer.Exit(FAILED)


@bench.command()
def mrd(
    megabytes: Annotated[int, typer.Option(min=1, help="How much to stream [MB].")] = 1000,
    coils: Annotated[int, typer.Option(min=1, max=1024, help="Coils of each readout.")] = 32,
    samples: Annotated[int, typer.Option(min=1, max=65535, help="Samples of each readout.")] = 512,
    folder: Annotated[
        Path | None, typer.Option("--out", help="A new or empty folder on the disk to be measured.", file_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Stream k-space to a node on loopback: how fast is it safe on the disk, and does the node answer meanwhile?

    Example: `lodestone bench mrd --megabytes 2000`
    """
    from node.commands.bench_mrd import bench_mrd

    bench_mrd(megabytes, coils, samples, folder, as_json)


@bench.command()
def reconstruction(
    method: Method = None,
    family: Annotated[
        str, typer.Option("--family", "-f", help="Phantom family of the head; no network was trained on this one.")
    ] = "strong_background",
    seed: Annotated[int, typer.Option(min=0, help="Decides the head.")] = 7013,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small volume and fewer settings of other programs.")
    ] = False,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Also run other programs that are there.")] = True,
    peer_python: Annotated[
        str | None, typer.Option(help="A Python in which SigPy, pygrappa and scikit-image are installed.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG of all images and errors.", dir_okay=False)] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Reconstruct accelerated k-space by ours, BART, SigPy and pygrappa: time, PSNR, SSIM, phase and field error.

    Example: `lodestone bench reconstruction --quick --picture images.png`
    """
    from node.commands.bench_reconstruction import Wanted, bench_reconstruction

    wanted = Wanted(tuple(method or ()), family, seed, quick, peers, peer_python)
    bench_reconstruction(wanted, picture, threads, as_json)
