"""The study of damaged headers: mutations spread over subjects by number and seed, each judged, in some processes."""

import resource
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from node.reading_study.judgement import Court, Verdict
from node.reading_study.subjects import Subject

BATCH = 50
REFUSED_EVERY = 8
MEMORY_BYTES = 4 * 1024**3

_courts: list[Court] = []
_folder: list[tempfile.TemporaryDirectory[str]] = []


def opened(subjects: Sequence[Subject], folder: Path) -> list[Court]:
    """Write the subjects below a folder and return one court for each."""
    return [Court(subject, folder / str(number)) for number, subject in enumerate(subjects)]


def verdicts(subjects: Sequence[Subject], count: int, seed: int, jobs: int) -> Iterator[Verdict]:
    """Judge `count` mutations; their order depends on the processes, each of them on seed and number alone.

    Seven of eight damage a series that can be read; one of eight a series that must be refused.
    """
    batches = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(tuple(subjects),)) as pool:
        for found in pool.map(_batch, batches, [seed] * len(batches)):
            yield from found


def judged(courts: Sequence[Court], number: int, seed: int) -> Verdict:
    """Judge one mutation of the subject to which its number falls."""
    readable = [court for court in courts if court.truth is not None]
    refused = [court for court in courts if court.truth is None]
    if refused and number % REFUSED_EVERY == 0:
        return refused[number // REFUSED_EVERY % len(refused)].verdict(number, seed)
    return readable[number % len(readable)].verdict(number, seed)


def _begin(subjects: tuple[Subject, ...]) -> None:
    # What asks for more memory than any of these small series can need is counted as a crash, not left to the kernel.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _folder.append(tempfile.TemporaryDirectory(prefix="lodestone-mutations-"))
    _courts[:] = opened(subjects, Path(_folder[0].name))


def _batch(numbers: range, seed: int) -> list[Verdict]:
    return [judged(_courts, number, seed) for number in numbers]
