"""Headers and readouts that disagree, or cannot be, are refused by name before anything is computed."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_io.errors import IncompleteRawData, RawHeaderUnusable, RawLinesMissing
from dicom_io.kspace.cartesian import CENTRE_UNSET, sort_cartesian
from dicom_io.kspace.scan import Limit, RawScan, Space
from dicom_io.kspace.source import geometry_of
from dicom_io.kspace.twix import read_twix
from dicom_io.kspace.twix_writer import write_twix
from tests.dicom_io.kspace.raw_scans import raw_scan

SHAPE = (4, 6, 16)


def with_heads(**values: object) -> RawScan:
    """Return a scan whose readouts of the images all state these values."""
    scan = raw_scan(SHAPE)
    heads = scan.heads.copy()
    for name, value in values.items():
        heads[name][1:] = value
    return RawScan(scan.header, heads, list(scan.samples))


def with_header(**changes: object) -> RawScan:
    scan = raw_scan(SHAPE)
    return RawScan(replace(scan.header, **changes), scan.heads, scan.samples)


def one_short_readout() -> RawScan:
    scan = with_heads()
    scan.samples[9] = scan.samples[9][:, :5]
    scan.heads["number_of_samples"][9] = 5
    return scan


def silent() -> RawScan:
    scan = with_heads()
    scan.samples[1:] = [0 * line for line in scan.samples[1:]]
    return scan


@pytest.mark.parametrize(
    ("scan", "kind", "sentence"),
    [
        (with_header(encoded=Space((60000, 60000, 60000), (1.0, 1.0, 1.0))), RawHeaderUnusable, "encoded matrix of"),
        (with_header(encoded=Space((4000, 4000, 16), (8.0, 12.0, 16.0))), RawLinesMissing, "4000 x 4000 lines, and 24"),
        (with_heads(center_sample=60000), RawLinesMissing, "Readout 1 passes k = 0 at sample 60000"),
        (with_heads(discard_pre=60000), RawLinesMissing, "holds 0 samples that count"),
        (one_short_readout(), RawLinesMissing, r"Readout 9 has another number of samples \(5\)"),
        (silent(), RawLinesMissing, "are zero"),
    ],
    ids=["matrix", "lines", "centre", "discarded", "length", "silence"],
)
def test_what_cannot_be_is_named(scan: RawScan, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        sort_cartesian(scan)


@pytest.mark.parametrize("position", [np.nan, np.inf, 1e9])
def test_a_position_outside_every_scanner_is_refused(position: float) -> None:
    scan = with_heads(position=position)
    with pytest.raises(RawHeaderUnusable, match="position that cannot be"):
        geometry_of(scan, scan.header.recon.shape, "1.2.3")


def test_readouts_that_leave_their_centre_out_are_taken_from_the_middle_and_that_is_said() -> None:
    found, wanted = sort_cartesian(with_heads(center_sample=0)), sort_cartesian(with_heads())
    assert np.array_equal(found.samples, wanted.samples)
    assert found.notes == (CENTRE_UNSET,)


def test_a_scan_that_counts_its_repetition_from_another_number_is_one_scan() -> None:
    scan = with_heads()
    scan.heads["idx"]["repetition"] = 3
    assert np.array_equal(sort_cartesian(scan).samples, sort_cartesian(with_heads()).samples)


def test_limits_that_end_before_they_begin_do_not_count() -> None:
    limits = {**raw_scan(SHAPE).header.limits, "kspace_encoding_step_1": Limit(5, 0, 3)}
    scan = with_header(limits=limits)
    with pytest.raises(RawLinesMissing, match="24 lines per echo"):
        sort_cartesian(RawScan(scan.header, scan.heads[:-8], scan.samples[:-8]))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_twix_file_that_was_cut_is_told_from_a_damaged_one(tmp_path, share: float) -> None:
    write_twix(tmp_path / "scan.dat", raw_scan(SHAPE))
    whole = (tmp_path / "scan.dat").read_bytes()
    (tmp_path / "cut.dat").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(IncompleteRawData, match="before its last measurement"):
        read_twix(tmp_path / "cut.dat")
