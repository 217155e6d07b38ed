"""`lodestone bench mrd`: the rate at which streamed k-space is safe on the disk, beside the disk's own."""

import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from dicom_io.kspace.mrd_messages import Kind, MessageWalker, acquisition_message, close_message, text_message
from dicom_io.kspace.readout_heads import new_heads
from dicom_io.network.peers import Peer
from dicom_io.network.verification import echo
from node import demo
from node.commands.console import err, out, print_json
from node.supervisor import Address

MEGABYTE = 1_000_000
WANTED_MB_S = 200.0
BLOCK_BYTES = 4 << 20
FLUSH_BYTES = 32 << 20
ANSWER_WITHIN_S = 600.0
HEADER = "<ismrmrdHeader><encoding><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
KSPACE = "\n[kspace]\nlisten = true\nport = 0\n"


def bench_mrd(megabytes: int, coils: int, samples: int, folder: Path | None, as_json: bool) -> None:
    """Stream so many megabytes to a node of its own, and print rates and the node's answers meanwhile."""
    with tempfile.TemporaryDirectory(prefix="lodestone-mrd-") as made:
        folders = demo.prepare(folder or Path(made) / "site")
        own_rate = disk_rate(folders.root, megabytes)
        with err.status("Streaming"), demo.running_node(folders, 104, {}, KSPACE) as (_, address):
            found = _stream(address, megabytes, coils, samples)
    found |= {"disk_mb_s": own_rate, "wanted_mb_s": min(WANTED_MB_S, own_rate)}
    found["is_reached"] = found["safe_mb_s"] >= found["wanted_mb_s"]
    print_json(found) if as_json else _print(found)


def disk_rate(folder: Path, megabytes: int) -> float:
    """Return the rate [MB/s] at which this disk makes so much safe, written and flushed in the same pieces."""
    path = folder / "disk-rate"
    block = os.urandom(BLOCK_BYTES)
    started, written, next_flush = time.perf_counter(), 0, FLUSH_BYTES
    with path.open("wb", buffering=0) as file:
        while written < megabytes * MEGABYTE:
            written += file.write(block)
            if written >= next_flush:
                os.fdatasync(file.fileno())
                next_flush = written + FLUSH_BYTES
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return round(written / seconds / MEGABYTE, 1)


def _stream(address: Address, megabytes: int, coils: int, samples: int) -> dict[str, Any]:
    head = new_heads([samples], coils)[0]
    chance = np.random.default_rng(1)
    noise = chance.normal(size=(2, coils, samples)).astype(np.float32)
    message = acquisition_message(head, noise[0] + 1j * noise[1])
    n_messages = max(1, megabytes * MEGABYTE // len(message))
    # Some messages at a time: a client written in Python must not be what is measured.
    per_send = max(1, BLOCK_BYTES // len(message))
    block = message * per_send
    assert address.kspace_port is not None
    with _pinging(address) as waits, socket.create_connection((address.host, address.kspace_port)) as connection:
        started = time.perf_counter()
        connection.sendall(text_message(Kind.HEADER, HEADER))
        sent = 0
        while sent < n_messages:
            n_now = min(per_send, n_messages - sent)
            connection.sendall(block if n_now == per_send else message * n_now)
            sent += n_now
        sent_s = time.perf_counter() - started
        connection.sendall(close_message())
        said = _answer(connection)
        safe_s = time.perf_counter() - started
    n_bytes = n_messages * len(message)
    return {
        "megabytes": round(n_bytes / MEGABYTE, 1),
        "readouts": n_messages,
        "bytes_per_readout": len(message),
        "sent_mb_s": round(n_bytes / sent_s / MEGABYTE, 1),
        "safe_mb_s": round(n_bytes / safe_s / MEGABYTE, 1),
        "echo_median_ms": round(1000 * statistics.median(waits), 1),
        "echo_longest_ms": round(1000 * max(waits), 1),
        "n_echoes": len(waits),
        "answer": said,
    }


def _answer(connection: socket.socket) -> str:
    """Return what the node says once everything is safe and recorded."""
    connection.settimeout(ANSWER_WITHIN_S)
    walker, said = MessageWalker(), ""
    while piece := connection.recv(65536):
        for message in walker.feed(memoryview(piece)):
            if message.kind is Kind.CLOSE:
                return said
            said = message.text.decode("utf-8", "replace").strip("\0 ")
    return said


@contextmanager
def _pinging(address: Address) -> Iterator[list[float]]:
    """Ask the DICOM listener for a sign of life (C-ECHO), over and over, and collect how long each answer took [s]."""
    waits: list[float] = []
    stop = threading.Event()
    peer = Peer("node", address.ae_title, address.host, address.port)

    def ping() -> None:
        while not stop.is_set():
            waits.append(echo(peer, demo.SCANNER_AE))
            stop.wait(0.1)

    waits.append(echo(peer, demo.SCANNER_AE))
    thread = threading.Thread(target=ping, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join(30)


def _print(found: dict[str, Any]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "streamed", f"{found['megabytes']:.0f} MB, {found['readouts']} readouts of {found['bytes_per_readout']} bytes"
    )
    table.add_row("taken from the client", f"{found['sent_mb_s']:.0f} MB/s")
    table.add_row("safe on the disk and recorded", f"{found['safe_mb_s']:.0f} MB/s")
    table.add_row("the disk alone, flushed alike", f"{found['disk_mb_s']:.0f} MB/s")
    longest = f"{found['echo_longest_ms']:.0f} ms at most"
    table.add_row("C-ECHO meanwhile", f"{found['echo_median_ms']:.0f} ms, {longest}, of {found['n_echoes']}")
    verdict = "reached" if found["is_reached"] else "not reached"
    table.add_row("wanted", f"{found['wanted_mb_s']:.0f} MB/s or the disk's own rate: {verdict}")
    out.print(table, soft_wrap=True)
