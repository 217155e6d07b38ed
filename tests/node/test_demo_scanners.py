"""The demonstration can play every scanner in the table, and says in words which one it plays."""

import pytest
import torch

from dicom_io.write.scanners.table import FLAVOURS
from node.demo_scanners import NEUTRAL, images_of, known_scanners, scanner_of
from pipeline.acquisition import Acquisition
from pipeline.grid import Grid
from tests.node import scans


def test_every_flavour_is_explained_after_the_one_of_no_manufacturer() -> None:
    known = known_scanners()
    assert list(known) == [NEUTRAL, *FLAVOURS]
    assert known["siemens_classic"] == "VE11 images: one series of magnitude and one of phase, each with all echoes."
    for sentence in known.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("flavour", "name", "n_series", "n_objects"),
    [
        (NEUTRAL, "Lodestone, Simulated scanner, 1", 1, 64),
        ("siemens_xa_classic", "Siemens Healthineers, MAGNETOM Prisma Fit, syngo MR XA30", 4, 64),
        ("philips_enhanced", "Philips", 1, 1),
    ],
)
def test_a_scanner_is_named_by_its_headers(flavour: str, name: str, n_series: int, n_objects: int) -> None:
    taken = scans.scan()
    acquisition = Acquisition(
        magnitude=torch.from_numpy(taken.magnitude),
        phase=torch.from_numpy(taken.phase),
        echo_times_s=scans.ECHO_TIMES_S,
        b0_tesla=scans.B0_TESLA,
        grid=Grid(scans.SHAPE, (2.0, 2.0, 2.0), (1.0, 0.0, 0.0)),
    )
    played = scanner_of(images_of(acquisition, taken.geometry, flavour), flavour)
    assert played.name.startswith(name)
    assert (played.n_series, played.n_objects) == (n_series, n_objects)
