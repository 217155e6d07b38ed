"""The commands a person types: one short function each, whose work is done elsewhere.

Exit codes: 0 done, 1 permanent failure, 2 usage, 75 try again. Torch takes seconds to import, so a command imports
what it needs when it runs, and `--help` answers at once.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from node import __version__
from node.commands.bench import bench
from node.commands.console import FAILED, TRY_AGAIN, fail
from node.commands.evaluate import evaluate
from node.commands.looking import inspect, route
from node.commands.many_values import ManyValues
from node.commands.raw import reconstruct

app = typer.Typer(
    name="lodestone",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Quantitative susceptibility maps from multi-echo gradient-echo series.\n\n"
        "See a whole journey on this machine: `lodestone demo`\n\n"
        "Map a folder of DICOM files: `lodestone process FOLDER --out DIR`\n\n"
        "Install a node at a site: `lodestone init site --archive PACS@10.0.0.6:4242 --allow SCANNER`, then "
        "`lodestone check -c site/node.toml` and `lodestone serve -c site/node.toml`"
    ),
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The node's settings.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Processor threads; 0 takes all.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
NODE_TOML = Path("node.toml")

NODE, MAPS, NETWORKS, RECORD = "Node", "Maps without a network", "Learned inversion", "Record"

app.add_typer(bench, name="bench", rich_help_panel=MAPS)


def _directions(numbers: list[float] | None) -> tuple[tuple[float, float, float], ...]:
    """Return the numbers after `--b0-direction` in threes."""
    values = tuple(numbers or ())
    if len(values) % 3:
        raise typer.BadParameter(f"--b0-direction takes three numbers x y z; {len(values)} were given")
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lodestone {__version__}")
        raise typer.Exit


@app.callback()
def lodestone(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the options that stand before the command."""


@app.command(rich_help_panel=NODE)
def init(
    directory: Annotated[Path, typer.Argument(help="The new site's folder.")],
    ae_title: Annotated[str, typer.Option(help="The node's AE title.")] = "LODESTONE",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the node listens.")] = 11112,
    host: Annotated[str, typer.Option(help="Interface to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    archive: Annotated[list[str] | None, typer.Option(help="AET@HOST:PORT of a PACS; repeatable.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="AE title that may send; repeatable.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a node.toml that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented node.toml for a site.

    Example: `lodestone init site --port 11112 --archive ORTHANC@10.0.0.6:4242 --allow MRSCANNER`
    """
    from node.commands.init import init_site

    init_site(directory, ae_title, port, host, tuple(archive or ()), tuple(allow or ()), force, as_json)


@app.command(rich_help_panel=NODE)
def serve(config: Config = NODE_TOML) -> None:
    """Receive, map and deliver until stopped (Ctrl-C or SIGTERM).

    Example: `lodestone serve -c site/node.toml`
    """
    from node.commands.serve import serve_site

    serve_site(config)


@app.command(rich_help_panel=NODE)
def check(config: Config = NODE_TOML, as_json: Json = False) -> None:
    """Tell an installer what is wrong: settings, ports, disk, database, peers, GPU.

    Example: `lodestone check -c site/node.toml`
    """
    from node.commands.check import check_site

    check_site(config, as_json)


@app.command(rich_help_panel=NODE)
def commission(
    to: Annotated[str, typer.Option("--to", help="A peer's name in the settings, or AET@HOST:PORT.")],
    config: Config = NODE_TOML,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where page and objects are kept.")] = Path(
        "lodestone-commissioning"
    ),
    seed: Annotated[str, typer.Option(help="Decides all UIDs; the day otherwise.")] = "",
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Study date; today otherwise.")] = None,
    ae_title: Annotated[str, typer.Option(help="AE title to call with; the node's otherwise.")] = "",
    as_json: Json = False,
) -> None:
    """Send squares of known value to an archive, with a page of what its viewer must show.

    Example: `lodestone commission --to PACS -c site/node.toml`, or without settings
    `lodestone commission --to ORTHANC@10.0.0.6:4242`
    """
    from node.commands.commission import commission_viewer

    date = (day or datetime.now()).date()
    commission_viewer(to, config, out, seed or f"{date:%Y%m%d}", date, ae_title, as_json)


@app.command(rich_help_panel=NODE)
def demo(
    out: Annotated[Path | None, typer.Option("--out", help="Where to work; a new folder `demo` otherwise.")] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave node and archive up until Ctrl-C.")
    ] = False,
    scanner: Annotated[
        str, typer.Option("--scanner", help="Whose objects are sent, e.g. siemens_classic; `list` explains all.")
    ] = "lodestone",
    from_k_space: Annotated[bool, typer.Option("--from-k-space", help="The scanner streams raw data (MRD).")] = False,
    acceleration: Annotated[float, typer.Option(min=1, max=8, help="Of the raw data; 1 is fully sampled.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Watch a series travel on this machine: simulated scanner, node, small archive.

    Example: `lodestone demo --scanner philips_enhanced`, `lodestone demo --from-k-space --acceleration 4`
    """
    from node.commands.demo import list_scanners, run_demo
    from node.demo_scanners import known_scanners

    if scanner == "list":
        list_scanners(as_json)
        return
    if scanner not in known_scanners():
        raise typer.BadParameter(f"there is no scanner {scanner!r}; known are {', '.join(known_scanners())}")
    run_demo(out, keep_running, as_json, scanner, acceleration if from_k_space else None)


app.command(rich_help_panel=MAPS)(inspect)
app.command(rich_help_panel=MAPS)(reconstruct)
app.command(rich_help_panel=NODE)(route)


@app.command(cls=ManyValues, rich_help_panel=MAPS)
def process(
    folder: Annotated[Path | None, typer.Argument(help="Folder of DICOM files, or raw data.", exists=True)] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("lodestone-out"),
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a TOML file.")] = "default",
    phase: Annotated[list[Path] | None, typer.Option(help="NIfTI: one 4-D file, or one per echo.")] = None,
    magnitude: Annotated[list[Path] | None, typer.Option(help="NIfTI: one 4-D file, or one per echo.")] = None,
    echo_times_s: Annotated[
        list[float] | None, typer.Option("--echo-times-s", help="Echo times [s]: 0.004 0.008 0.012")
    ] = None,
    b0_tesla: Annotated[float | None, typer.Option(help="Field strength [T].")] = None,
    b0_direction: Annotated[
        list[float] | None, typer.Option("--b0-direction", help="B0 along the voxel axes x y z; else from the affine.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Brain mask (NIfTI) that replaces the computed one.")] = None,
    phase_scale: Annotated[float | None, typer.Option(help="Radians per unit of the phase files.")] = None,
    invert_phase: Annotated[bool, typer.Option("--invert-phase", help="The phase falls with the field.")] = False,
    label_map: Annotated[Path | None, typer.Option(help="Label map (NIfTI) whose regions are measured.")] = None,
    label_names: Annotated[Path | None, typer.Option(help="JSON file: label → name.")] = None,
    series: Annotated[str | None, typer.Option(help="Only the series with this SeriesInstanceUID.")] = None,
    without_noise: Annotated[
        bool, typer.Option("--without-noise", help="Raw data: go on without a noise scan.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Map a DICOM folder, raw data or NIfTI files, and write maps, report and pictures.

    DICOM: `lodestone process scans/patient1 --out results`; raw data: `lodestone process scan.h5` (or .mrd, .dat)

    NIfTI: `lodestone process --phase ph.nii --magnitude mag.nii --echo-times-s 0.004 0.008 0.012 --b0-tesla 7`

    Echo times and field strength are read from BIDS JSON files beside the NIfTI files where there are any.
    """
    from node.commands.process import Options, process_dicom, process_nifti
    from node.local_input import LabelFiles, NiftiInput

    if bool(folder) == bool(phase or magnitude):
        raise typer.BadParameter("give either a FOLDER of DICOM files, or --phase and --magnitude")
    options = Options(out, recipe, LabelFiles(label_map, label_names), device, threads, as_json, without_noise)
    if folder:
        process_dicom(folder, series, mask, options)
        return
    if not (phase and magnitude):
        raise typer.BadParameter("NIfTI input needs both --phase and --magnitude")
    times = tuple(echo_times_s or ())
    directions = _directions(b0_direction)
    if len(directions) > 1:
        raise typer.BadParameter("one head orientation can be mapped at a time; give --b0-direction once")
    direction = directions[0] if directions else None
    given = NiftiInput(tuple(phase), tuple(magnitude), times, b0_tesla, direction, mask, phase_scale, invert_phase)
    process_nifti(given, options)


@app.command(cls=ManyValues, rich_help_panel=MAPS)
def step(
    name: Annotated[str, typer.Argument(metavar="STEP", help="The step; `lodestone methods` lists all.")],
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="How; the step's first method if left out.")
    ] = None,
    named: Annotated[
        list[str] | None, typer.Option("--in", metavar="NAME=FILE", help="An artefact's file; repeatable.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--input", "-i", help="Folder with QSM-CI's files.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or the file of the step's map.")] = Path(
        "lodestone-out"
    ),
    phase: Annotated[list[Path] | None, typer.Option(help="[rad]; one 4-D file, or one per echo.")] = None,
    magnitude: Annotated[list[Path] | None, typer.Option(help="One 4-D file, or one per echo.")] = None,
    mask: Annotated[Path | None, typer.Option(help="0 or 1.")] = None,
    quality: Annotated[Path | None, typer.Option(help="Phase quality, 0 to 1.")] = None,
    unwrapped_phase: Annotated[list[Path] | None, typer.Option(help="[rad]; like --phase.")] = None,
    total_field: Annotated[Path | None, typer.Option(help="[ppm]")] = None,
    field_noise: Annotated[Path | None, typer.Option(help="Standard deviation of the total field [ppm].")] = None,
    local_field: Annotated[Path | None, typer.Option(help="[ppm]")] = None,
    susceptibility: Annotated[Path | None, typer.Option(help="[ppm]")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; repeatable.")
    ] = None,
    echo_times_s: Annotated[list[float] | None, typer.Option("--echo-times-s", help="Echo times [s].")] = None,
    b0_tesla: Annotated[float | None, typer.Option(help="Field strength [T].")] = None,
    b0_direction: Annotated[
        list[float] | None,
        typer.Option(
            "--b0-direction", help="B0 along the voxel axes x y z; else from the affine. Once per head orientation."
        ),
    ] = None,
    fields_in_hz: Annotated[bool, typer.Option("--fields-in-hz", help="Field files are in Hz, not in ppm.")] = False,
    phase_scale: Annotated[float | None, typer.Option(help="Radians per unit of the phase files.")] = None,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Run one step alone on NIfTI files, with QSM-CI's artefact names and units.

    Fields and susceptibility are in ppm, phase in rad, times in s. Files of coil images have axes x, y, z, echo, coil.

    Example: `lodestone step dipole_inversion --method tkd --set threshold=0.2 --in local_field=lf.nii mask=mask.nii
    --out chi.nii`

    Example: `lodestone step bfr --input qsm-ci/input --out qsm-ci/output`
    """
    from node.commands.step import run_step
    from node.step_files import StepFiles, named_files

    single = {
        "mask": mask,
        "quality": quality,
        "total_field": total_field,
        "field_noise": field_noise,
        "local_field": local_field,
        "susceptibility": susceptibility,
    }
    several = {"phase": phase, "magnitude": magnitude, "unwrapped_phase": unwrapped_phase}
    files = named_files(named or ())
    files |= {artefact: tuple(paths) for artefact, paths in several.items() if paths}
    files |= {artefact: (path,) for artefact, path in single.items() if path}
    directions, times = _directions(b0_direction), tuple(echo_times_s or ())
    given = StepFiles(files, folder, times, b0_tesla, directions, phase_scale, fields_in_hz)
    run_step(name, method, given, tuple(setting or ()), out, device, threads, as_json)


@app.command(rich_help_panel=MAPS)
def methods(
    name: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Only this step, with every setting.")] = None,
    as_json: Json = False,
) -> None:
    """List the methods of every step, their sources, inputs and settings.

    Example: `lodestone methods total_field_inversion`
    """
    from node.commands.recipes import list_methods

    list_methods(name, as_json)


@app.command(rich_help_panel=MAPS)
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Show this recipe.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Also this site's recipes.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or show one in full: the start of your own.

    Example: `lodestone recipes default > mine.toml`, then `lodestone process FOLDER --recipe mine.toml`
    """
    from node.commands.recipes import list_recipes, show_recipe

    show_recipe(name, config, as_json) if name else list_recipes(config, as_json)


@app.command(rich_help_panel=NETWORKS)
def train(
    network: Annotated[str, typer.Argument(help="A network's name, e.g. lodestone_net or xqsm.")],
    hours: Annotated[float | None, typer.Option(min=0, help="End after so many hours, all runs counted.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="End after so many steps, all runs counted.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the checkpoint in --out.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Checkpoint and curves; lodestone-training/NETWORK otherwise.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides first weights, data and their order.")] = 1,
    batch: Annotated[int, typer.Option(min=0, help="Samples per step; 0 as in the network's paper.")] = 0,
    patch: Annotated[int, typer.Option(min=0, help="Edge of a sample [voxel]; 0 as in the network's paper.")] = 0,
    orientations: Annotated[
        int, typer.Option(min=1, help="1: the label is the truth; 3 or more: COSMOS of so many orientations.")
    ] = 1,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    workers: Annotated[
        int, typer.Option(min=-1, help="Processes that make samples; 0 none; -1: one, on a GPU none.")
    ] = -1,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations on held-out samples.")] = 200,
    validation_samples: Annotated[int, typer.Option(min=1, help="Held-out samples per validation.")] = 16,
    preview: Annotated[
        Path | None, typer.Option(help="Only draw the samples that would be trained on into this PNG.", dir_okay=False)
    ] = None,
    export: Annotated[bool, typer.Option("--export", help="At the end write weights, digest and model card.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Where to export to; the package's own folder otherwise.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a network on simulated data; Ctrl-C stops it with a checkpoint.

    Example: `lodestone train lodestone_net --hours 2 --out mine`, later the same with `--resume --export`
    """
    from node.commands.train import Options, train_network, write_preview
    from pipeline.networks.weights import FOLDER
    from pipeline.training.trainer import TrainingSettings

    settings = TrainingSettings(
        network,
        seed,
        batch,
        patch,
        steps,
        hours,
        orientations,
        precision,
        workers,
        validate_every,
        validation_samples,
    )
    if preview is not None:
        write_preview(settings, preview)
        return
    where = folder or Path("lodestone-training") / network
    train_network(settings, Options(where, device, resume, export, weights or FOLDER, as_json))


app.command(rich_help_panel=NETWORKS)(evaluate)


@app.command("list", rich_help_panel=RECORD)
def list_(
    config: Config = NODE_TOML,
    state: Annotated[str | None, typer.Option(help="Only series in this state, e.g. refused.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest.")] = None,
    creator_version: Annotated[str | None, typer.Option(help="Only raw data with this Creator-Version UID.")] = None,
    as_json: Json = False,
) -> None:
    """List the series that arrived and where each is on its journey.

    Example: `lodestone list -c site/node.toml --state refused`
    """
    from node.commands.record import list_series

    list_series(config, state, limit, as_json, creator_version)


@app.command(rich_help_panel=RECORD)
def show(
    series: Annotated[str, typer.Argument(help="A series' key, or the UID of it or of an object made from it.")],
    config: Config = NODE_TOML,
    as_json: Json = False,
) -> None:
    """Show one series: state, what arrived, what was made, who has it, what happened.

    Example: `lodestone show s-7f3a91c2 -c site/node.toml`
    """
    from node.commands.record import show_series

    show_series(series, config, as_json)


@app.command(rich_help_panel=RECORD)
def retry(
    series: Annotated[str, typer.Argument(help="A series' key or UID.")],
    config: Config = NODE_TOML,
    as_json: Json = False,
) -> None:
    """Map a series once more from its received bytes, after it was refused, ignored, failed or recorded.

    Example: `lodestone retry s-7f3a91c2 -c site/node.toml`
    """
    from node.commands.retry import retry_series

    retry_series(series, config, as_json)


@app.command(rich_help_panel=RECORD)
def audit(
    config: Config = NODE_TOML,
    series: Annotated[str | None, typer.Option(help="Only events of this series.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole hash chain; exit 1 if it is broken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the audit trail, oldest first, or verify its hash chain.

    Example: `lodestone audit -c site/node.toml --verify`
    """
    from node.commands.record import print_audit, verify_audit

    verify_audit(config, as_json) if verify else print_audit(config, series, limit, as_json)


@app.command(rich_help_panel=RECORD)
def provenance(
    sop_instance_uid: Annotated[str, typer.Argument(metavar="SOPINSTANCEUID", help="An object that Lodestone made.")],
    config: Config = NODE_TOML,
    as_json: Json = False,
) -> None:
    """Tell where an object came from: inputs with digests, recipe, versions, device, times, outputs, deliveries.

    Example: `lodestone provenance 2.25.123… -c site/node.toml`
    """
    from node.commands.record import print_provenance

    print_provenance(sop_instance_uid, config, as_json)


@app.command(rich_help_panel=RECORD)
def conformance(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it into this file.", dir_okay=False)] = None,
    as_json: Json = False,
) -> None:
    """Print the DICOM conformance statement of this version (PS3.2).

    Example: `lodestone conformance --out conformance_statement.md`
    """
    from node.commands.conformance import write_statement

    write_statement(out, as_json)


def main() -> None:
    """Run the command line; every failure ends as one sentence and an exit code."""
    from node.commands.failures import INTERRUPTED, PERMANENT, TRANSIENT

    as_json = "--json" in sys.argv
    try:
        app()
    except TRANSIENT as error:
        fail(error, TRY_AGAIN, as_json)
    except PERMANENT as error:
        fail(error, FAILED, as_json)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
