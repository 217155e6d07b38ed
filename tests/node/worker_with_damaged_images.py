"""Runs a worker whose images lack PixelSpacing, as an error in a writer would make them, for the test of the gate."""

import sys
from collections.abc import Sequence

from pydicom import Dataset

from node import objects, worker

ATTRIBUTE = "PixelSpacing"
written = objects.susceptibility_series


def damaged(*given: object, **named: object) -> Sequence[Dataset]:
    """Return the susceptibility images, the last one without a required attribute."""
    images = written(*given, **named)
    del images[-1][ATTRIBUTE]
    return images


if __name__ == "__main__":
    objects.susceptibility_series = damaged
    worker.main(sys.argv[1:])
