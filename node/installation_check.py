"""What an installer wants to know before the first patient: what would go wrong, and what to do about it."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

import db.errors
import pipeline.errors
from db.instances import Instance
from db.session import Database
from dicom_io.errors import DicomError
from dicom_io.network import peers
from dicom_io.network.verification import echo
from node import app
from node.errors import NodeError
from node.inbox import Inbox
from node.installation_finding import LOOPBACK, Finding, Level
from node.peer_check import look_at_peer
from node.recipe_files import read_recipe
from node.settings import Settings
from pipeline.networks.cards import training_state
from pipeline.networks.weights import verified_digest
from pipeline.recipe import Recipe
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import NAME as CALIBRATED
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration

# SQLite's locks do not hold on these, and a record that two writers damage is no record.
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p"})
OWN_ANSWER_WITHIN_S = 3.0
# A 256 × 256 × 128 series of five echoes needs less than this, with the node around it.
NEEDED_MEMORY_GIB = 8.0


def check(settings: Settings) -> Iterator[Finding]:
    """Yield findings one by one, as they are made; the slow ones, which ask peers, come last."""
    for look in CHECKS:
        yield from look(settings)


def _directory(settings: Settings) -> Iterator[Finding]:
    folder = settings.directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"lodestone")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        why = f"{folder} cannot be written to ({error.strerror})."
        yield Finding("folder", Level.PROBLEM, why, "Give the account that runs Lodestone the right to write there.")
        return
    yield Finding("folder", Level.OK, f"{folder} can be written to and flushed.")
    free_mb = shutil.disk_usage(folder).free / 1e6
    watermark = settings.node.free_space_watermark_mb
    if free_mb < watermark:
        why = f"{free_mb:.0f} MB are free, below the watermark of {watermark} MB: every instance would be refused."
        yield Finding("disk", Level.PROBLEM, why, "Free some space or lower [node] free_space_watermark_mb.")
    elif free_mb < 4 * watermark:
        yield Finding("disk", Level.WARNING, f"Only {free_mb / 1e3:.1f} GB are free.", "Plan for more space.")
    else:
        yield Finding("disk", Level.OK, f"{free_mb / 1e3:.1f} GB are free.")


def _database(settings: Settings) -> Iterator[Finding]:
    url = make_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database:
        kind = file_system_of(Path(url.database).parent)
        if kind in NETWORK_FILE_SYSTEMS:
            why = f"The SQLite file lies on a network file system ({kind}), where its locks do not hold."
            yield Finding("database", Level.PROBLEM, why, "Move [node] directory to a local disk or use PostgreSQL.")
            return
    try:
        database = Database(settings.database_url)
        try:
            with database.begin() as session:
                session.execute(text("SELECT 1"))
        finally:
            database.close()
    except (SQLAlchemyError, db.errors.RecordError, ImportError) as error:
        why = f"{shown} cannot be opened for writing ({type(error).__name__})."
        yield Finding("database", Level.PROBLEM, why, "Check [database] url, and that the server runs and admits us.")
        return
    yield Finding("database", Level.OK, f"{shown} can be opened for writing.")


def _inbox(settings: Settings) -> Iterator[Finding]:
    folder = settings.directory / app.INBOX
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            recorded = set(session.scalars(select(Instance.inbox_name)))
    except SQLAlchemyError:
        # No record has been begun here yet; whether one can be is another check.
        return
    finally:
        database.close()
    present = set(Inbox(folder).names()) if folder.is_dir() else set()
    missing, unrecorded = len(recorded - present), len(present - recorded)
    if missing:
        why = f"{missing} of {len(recorded)} recorded instances are missing from {folder}."
        yield Finding("inbox", Level.PROBLEM, why, "Restore them from a backup, or ask the senders to send again.")
    elif unrecorded:
        why = f"{unrecorded} files in {folder} are not in the record: a receipt was cut off and never acknowledged."
        yield Finding("inbox", Level.WARNING, why, "Nothing is lost; the senders keep what was not acknowledged.")
    elif recorded:
        yield Finding("inbox", Level.OK, f"All {len(recorded)} recorded instances are in the inbox.")


def _port(settings: Settings) -> Iterator[Finding]:
    node = settings.node
    where = f"{node.host}:{node.port}"
    family = socket.AF_INET6 if ":" in node.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((node.host, node.port))
        except OSError as error:
            yield _taken_port(settings, where, error)
            return
    yield Finding("port", Level.OK, f"{where} is free to listen on.")
    if node.host in LOOPBACK:
        why = "The node listens on this machine only; a scanner elsewhere cannot reach it."
        yield Finding("port", Level.WARNING, why, "Set [node] host to this machine's address in the scanner network.")


def _taken_port(settings: Settings, where: str, error: OSError) -> Finding:
    node = settings.node
    caller = settings.allow[0].ae_title if settings.allow else node.ae_title
    host = "127.0.0.1" if node.host in ("0.0.0.0", "::") else node.host
    try:
        echo(peers.Peer("this node", node.ae_title, host, node.port), caller, OWN_ANSWER_WITHIN_S)
    except DicomError:
        why = f"{where} cannot be listened on ({error.strerror}), and what is there does not answer C-ECHO to {caller}."
        return Finding("port", Level.PROBLEM, why, "Choose another [node] port or host, or stop what is running there.")
    return Finding("port", Level.OK, f"A node called {node.ae_title} is running on {where} and answers C-ECHO.")


def _callers(settings: Settings) -> Iterator[Finding]:
    if not settings.allow:
        yield Finding("callers", Level.PROBLEM, "Nobody may send to this node.", "Add an [[allow]] for each scanner.")
        return
    titles = ", ".join(caller.ae_title for caller in settings.allow)
    yield Finding("callers", Level.OK, f"May send: {titles}.")
    for caller in settings.allow:
        if caller.host and not _resolves(caller.host):
            why = f"The host of {caller.ae_title} has no address: {caller.host}."
            yield Finding("callers", Level.PROBLEM, why, "Correct [[allow]] host, or leave it empty for any host.")


def _rules(settings: Settings) -> Iterator[Finding]:
    if not settings.rules:
        yield Finding("rules", Level.PROBLEM, "No series would be mapped.", "Add at least one [[rules]].")
    for rule in settings.rules:
        try:
            recipe, _ = read_recipe(rule.recipe, settings.recipes_directory)
        except (pipeline.errors.PipelineError, NodeError, OSError, UnicodeDecodeError) as error:
            why = f"Rule {rule.name} cannot use recipe {rule.recipe}: {error}"
            yield Finding("rules", Level.PROBLEM, why, "Correct the recipe, or name another.")
            continue
        if not rule.destinations:
            why = f"Rule {rule.name} sends its results nowhere."
            yield Finding("rules", Level.WARNING, why, "Name a peer in its destinations.")
        else:
            yield Finding("rules", Level.OK, f"{rule.name}: recipe {rule.recipe}, to {', '.join(rule.destinations)}.")
        yield from _weights(recipe)


def _weights(recipe: Recipe) -> Iterator[Finding]:
    networks = (*recipe.networks, *recipe.image_networks)
    if not networks:
        yield Finding("weights", Level.OK, f"Recipe {recipe.name} needs no trained weights.")
    for name in networks:
        try:
            digest = verified_digest(name)
            if name == CALIBRATED:
                load_calibration(name)
        except pipeline.errors.PipelineError as error:
            why = f"Recipe {recipe.name} would refuse every series: {error}"
            yield Finding("weights", Level.PROBLEM, why, "Do what the sentence says, or name another recipe.")
            continue
        state = training_state(name)
        why = f"Recipe {recipe.name}: the weights of {name} are whole, SHA-256 {digest[:12]}…; they are {state.state}."
        if state.is_full:
            yield Finding("weights", Level.OK, why)
        else:
            yield Finding("weights", Level.WARNING, why, f"Read the card: pipeline/networks/weights/{name}.md.")


def _label_map(settings: Settings) -> Iterator[Finding]:
    if settings.label_map is not None and not settings.label_map.is_file():
        why = f"The label map {settings.label_map} is not there."
        yield Finding("regions", Level.PROBLEM, why, "Correct [regions] label_map or leave it empty.")


def _computing(settings: Settings) -> Iterator[Finding]:
    wanted = settings.mapping.device
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Finding("GPU", Level.OK, f"{name} with {memory:.0f} GiB is usable; device is {wanted}.")
    elif wanted == "cuda":
        why = "[mapping] device is cuda, but PyTorch finds no usable GPU."
        yield Finding("GPU", Level.PROBLEM, why, "Install driver and a CUDA build of PyTorch, or set device to auto.")
    else:
        yield Finding("GPU", Level.OK, f"None is used; mapping runs on {os.cpu_count()} processor cores.")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if gib < min(NEEDED_MEMORY_GIB, settings.mapping.memory_limit_gib):
        why = f"The machine has {gib:.1f} GiB of memory; a large series needs up to {NEEDED_MEMORY_GIB:.0f}."
        yield Finding("memory", Level.WARNING, why, "Expect large series to fail, or add memory.")
    else:
        yield Finding("memory", Level.OK, f"{gib:.1f} GiB of memory.")


def _peers(settings: Settings) -> Iterator[Finding]:
    if not settings.peers:
        yield Finding("peers", Level.WARNING, "Results would be sent nowhere.", "Add a [[peers]] for the archive.")
    for entry in settings.peers:
        yield from look_at_peer(settings, entry)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _directory,
    _database,
    _inbox,
    _port,
    _callers,
    _rules,
    _label_map,
    _computing,
    _peers,
)


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that holds `folder`, or an empty text where the system does not tell."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
