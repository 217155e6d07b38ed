"""The demonstration: a simulated scanner, the node and a small archive, on one machine and over real associations.

The node runs exactly as at a site: a folder with its node.toml, `lodestone serve` as a process of its own, SQLite. Only
the head is made up, which is why the map can be compared with the truth.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import db.artefacts
import db.audit
import db.provenance
import db.runs
import db.series
from db.series import JOURNEY, Series, State
from db.session import Database
from dicom_io.geometry import Geometry
from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import SendResult, send
from dicom_io.write.identity import derived_uid
from dicom_io.write.part10 import to_bytes
from dicom_io.write.summary import pages_of
from node.archive import EmbeddedArchive
from node.child_process import start_child, stop_child
from node.contact_sheet import contact_sheet
from node.demo_scanners import NEUTRAL, Scanner, images_of, scanner_of
from node.errors import ChildDied, InvalidSettings
from node.journey.mapped import MAPS
from node.nifti import write_volume
from node.object_kinds import SERIES_OF_IMAGES, ObjectKind
from node.settings import Settings, load_settings
from node.site import write_site
from node.supervisor import Address, running_address
from node.workspace import Workspace
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import DEMONSTRATION, Protocol, SimulatedScan, acquire
from pipeline.studies.accuracy import score

NODE_AE, SCANNER_AE, ARCHIVE_AE = "LODESTONE", "SCANNER", "ARCHIVE"
MARKER = ".lodestone-demo"
LABEL_MAP = "regions.nii.gz"
START_S, JOURNEY_S, GRACE_S, POLL_S = 60.0, 900.0, 30.0, 0.2

OnFraction = Callable[[float], None]


@dataclass(frozen=True)
class Folders:
    """Where the demonstration keeps what: the scanner's images, the site, the archive, and the results."""

    root: Path

    @property
    def scanner(self) -> Path:
        """The images as the simulated scanner made them."""
        return self.root / "scanner"

    @property
    def site(self) -> Path:
        """The node's folder, with node.toml."""
        return self.root / "node"

    @property
    def archive(self) -> Path:
        """What was delivered."""
        return self.root / "archive"

    @property
    def results(self) -> Path:
        """What a person wants to look at."""
        return self.root / "results"


@dataclass(frozen=True)
class Scan:
    """A simulated examination: its scanner, its files in the order of sending, the truth, and where its voxels lie."""

    scanner: Scanner
    paths: tuple[Path, ...]
    simulated: SimulatedScan
    geometry: Geometry


def prepare(root: Path) -> Folders:
    """Return an empty set of folders; a former demonstration there is removed, anything else is left alone.

    Raises
    ------
    InvalidSettings
        The folder holds something else.
    """
    if root.exists() and any(root.iterdir()) and not (root / MARKER).exists():
        raise InvalidSettings(f"{root} is not empty and no former demonstration; choose another folder with --out.")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / MARKER).touch()
    folders = Folders(root)
    for folder in (folders.scanner, folders.site, folders.results):
        folder.mkdir()
    return folders


def simulate(
    folders: Folders, on_progress: OnFraction, protocol: Protocol = DEMONSTRATION, flavour: str = NEUTRAL
) -> Scan:
    """Scan the digital head and write its images as a known scanner would, and the label map of its nuclei."""
    scan = acquire(adult_head(), protocol, lambda share: on_progress(0.9 * share))
    geometry = geometry_of(scan)
    images = images_of(scan.acquisition, geometry, flavour)
    paths = []
    for number, image in enumerate(images, start=1):
        path = folders.scanner / f"image-{number:05d}.dcm"
        path.write_bytes(to_bytes(image))
        paths.append(path)
        on_progress(0.9 + 0.1 * number / len(images))
    labels = scan.labels.numpy().astype(np.float32)
    write_volume(folders.site / LABEL_MAP, labels, geometry.affine_ras, "labels of the digital head")
    return Scan(scanner_of(images, flavour), tuple(paths), scan, geometry)


def geometry_of(scan: SimulatedScan) -> Geometry:
    """Return the simulated volume's place in the patient, in DICOM's terms."""
    row, column, slices = scan.directions
    dz, dy, dx = scan.acquisition.grid.voxel_size_mm
    return Geometry(
        row_direction=row,
        column_direction=column,
        first_position=scan.first_position_mm,
        slice_step=(dz * slices[0], dz * slices[1], dz * slices[2]),
        pixel_spacing=(dy, dx),
        shape=scan.acquisition.grid.shape,
        frame_of_reference_uid=derived_uid("demonstration", "frame of reference"),
    )


@contextmanager
def running_archive(folders: Folders) -> Iterator[EmbeddedArchive]:
    """Run the small archive on a free port until the block ends."""
    archive = EmbeddedArchive(folders.archive, ARCHIVE_AE, callers=(NODE_AE,))
    archive.start()
    try:
        yield archive
    finally:
        archive.stop()


@contextmanager
def running_node(
    folders: Folders, archive_port: int, names: dict[int, str], more: str = ""
) -> Iterator[tuple[Settings, Address]]:
    """Write the node's settings, run `lodestone serve` on a free port until the block ends, and say where it listens.

    `more` is added to the settings as it is.

    Raises
    ------
    ChildDied
        It ended, or did not listen in time; the sentence names its log.
    """
    settings = write_site(
        folders.site,
        NODE_AE,
        port=0,
        archives=(f"{ARCHIVE_AE}@127.0.0.1:{archive_port}",),
        allowed=(SCANNER_AE,),
        label_map=LABEL_MAP,
        label_names=names,
    )
    if more:
        settings.file.write_text(settings.file.read_text(encoding="utf-8") + more, encoding="utf-8")
        settings = load_settings(settings.file)
    log = folders.site / "serve.log"
    with log.open("ab") as stream:
        command = [sys.executable, "-m", "node.cli", "serve", "-c", str(settings.file)]
        node = start_child(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield settings, _wait_for_address(node, settings.directory, log)
    finally:
        stop_child(node, GRACE_S)


def _wait_for_address(node: "subprocess.Popen[Any]", directory: Path, log: Path) -> Address:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        address = running_address(directory)
        if address is not None:
            return address
        if node.poll() is not None:
            raise ChildDied(f"The node ended with code {node.returncode} before it listened; {log} says why.")
        time.sleep(POLL_S)
    raise ChildDied(f"The node did not listen within {START_S:.0f} s; {log} says why.")


def send_scan(scan: Scan, address: Address, on_progress: OnFraction) -> None:
    """Send the examination to the node as the scanner, over one association.

    Raises
    ------
    PeerUnreachable, PeerRefused
        The node did not take it.
    """
    answered = 0

    def count(result: SendResult) -> None:
        nonlocal answered
        answered += 1
        on_progress(answered / len(scan.paths))

    send(Peer("node", address.ae_title, address.host, address.port), list(scan.paths), count, calling_ae=SCANNER_AE)


def follow(database: Database, scan: Scan, on_series: Callable[[Series], None]) -> Series:
    """Watch the series travel until it has ended, and return it; of several series the one that leads.

    Raises
    ------
    ChildDied
        It did not end in time.
    """
    deadline = time.monotonic() + JOURNEY_S
    while time.monotonic() < deadline:
        with database.read() as session:
            found = db.series.list_series(session)
        leading = _leading(found)
        if leading is not None:
            on_series(leading)
            if all(one.state in db.series.ENDS for one in found):
                return leading
        time.sleep(POLL_S)
    raise ChildDied(f"The scan of {len(scan.paths)} objects did not arrive at its end within {JOURNEY_S:.0f} s.")


def _leading(found: Sequence[Series]) -> Series | None:
    """Return the series with which the others are mapped; until they are joined, the one that came first."""
    alone = [one for one in found if one.state != State.JOINED]
    return min(alone, key=lambda one: one.created_at, default=None)


def words_done(series: Series) -> tuple[State, ...]:
    """Return the words of the journey that a series has behind it."""
    if series.state == State.RECEIVED:
        return (State.RECEIVED,) if series.enqueued_at else ()
    if series.state not in JOURNEY:
        return ()
    return JOURNEY[: JOURNEY.index(State(series.state)) + 1]


def collect(
    database: Database, settings: Settings, folders: Folders, archive: EmbeddedArchive, scan: Scan, series: Series
) -> dict[str, Any]:
    """Fetch the results from the archive, draw the contact sheet, compare with the truth, and return it all."""
    with database.read() as session:
        run = db.provenance.of_run(session, db.runs.get(session, series.key, series.revision))
        digest = db.artefacts.digest_of(session, series.key, series.revision, MAPS)
        events = [event.as_dict() for event in db.audit.list_events(session)]
        chain = db.audit.verify(session)
    maps = Workspace(settings.directory / "workspace").get(digest).arrays
    picture = folders.results / "contact_sheet.png"
    magnitude = scan.simulated.acquisition.magnitude.square().mean(dim=0).sqrt().numpy()
    title = f"Lodestone demonstration · digital head · {scan.scanner.name} · default recipe"
    mask = maps["mask"].astype(bool)
    contact_sheet(picture, maps["susceptibility"], magnitude, mask, scan.geometry.affine_lps, title)
    return {
        "series": series.key,
        "scanner": asdict(scan.scanner),
        "results": fetch(archive, run["outputs"], folders.results) | {"contact_sheet": str(picture)},
        **compare(scan.simulated, maps["susceptibility"], mask),
        "quality": run["quality"],
        "steps": run["steps"],
        "deliveries": run["peers"],
        "seal": run["seal"],
        "audit": events,
        "audit_chain": chain.sentence,
    }


def fetch(archive: EmbeddedArchive, outputs: list[dict[str, Any]], results: Path) -> dict[str, str]:
    """Copy what the archive holds of a run's objects under readable names, and return where map and report lie.

    Raises
    ------
    ChildDied
        The archive lacks an object that the record calls delivered.
    """
    held = {entry["SOPInstanceUID"]: archive.folder / entry["file"] for entry in archive.objects()}
    places: dict[str, str] = {}
    for output in outputs:
        if output["SOPInstanceUID"] not in held:
            raise ChildDied(f"The archive does not hold {output['SOPInstanceUID']}, which was to be delivered.")
        is_slice = output["kind"] in SERIES_OF_IMAGES
        folder = results / output["kind"] if is_slice else results
        folder.mkdir(exist_ok=True)
        path = folder / (Path(output["path"]).name if is_slice else f"{output['kind']}.dcm")
        shutil.copyfile(held[output["SOPInstanceUID"]], path)
        places[output["kind"]] = str(folder if is_slice else path)
        if output["kind"] == ObjectKind.SUMMARY:
            pages = path.with_suffix(".pdf")
            pages.write_bytes(pages_of(path.read_bytes()))
            places["pages"] = str(pages)
    return places


def compare(scan: SimulatedScan, susceptibility: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return how near the map came to the truth, and for every region truth and measurement [ppb]."""
    found = score(scan, torch.as_tensor(susceptibility), torch.as_tensor(mask))
    return {
        "detrended_nrmse_percent": round(found.detrended_nrmse_percent, 2),
        "coverage_percent": round(100 * found.coverage, 2),
        "nuclei": [
            {
                "name": region.name,
                "n_voxels": region.n_voxels,
                "truth_ppb": round(region.truth_ppb, 1),
                "measured_ppb": round(region.measured_ppb, 1),
                "error_ppb": round(region.error_ppb, 1),
            }
            for region in found.regions
        ],
    }
