"""Pieces of work computed in processes of one thread each, which end when their parent ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context, parent_process
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Made = TypeVar("Made")


def computed(function: Callable[[Piece], Made], pieces: Sequence[Piece], n_workers: int) -> Iterator[tuple[int, Made]]:
    """Yield the number of each piece and what the function made of it, as they are done.

    Parameters
    ----------
    function
        Can be pickled, and so can what it takes and returns.
    pieces
        Begun in their order.
    n_workers
        Processes of one thread each; 1 computes in this process.
    """
    if n_workers <= 1:
        for number, piece in enumerate(pieces):
            yield number, function(piece)
        return
    # Spawned, not forked: a forked child inherits locks of torch's threads.
    others = set(active_children())
    workers = ProcessPoolExecutor(n_workers, get_context("spawn"), initializer=_begin_worker)
    is_done = False
    try:
        coming = {workers.submit(function, piece): number for number, piece in enumerate(pieces)}
        for future in as_completed(coming):
            yield coming[future], future.result()
        is_done = True
    finally:
        if not is_done:
            # A piece takes a minute; whoever stops the program shall not wait for it.
            for child in set(active_children()) - others:
                child.terminate()
        workers.shutdown(wait=False, cancel_futures=True)


def _begin_worker(end: Callable[[int], None] = os._exit) -> None:
    """Prepare a worker: one thread, deaf to Ctrl-C, which its parent answers, and gone when its parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            end(1)

    threading.Thread(target=follow, daemon=True).start()
