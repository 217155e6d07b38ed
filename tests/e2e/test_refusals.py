"""What must not be mapped is refused with a sentence, stays on disk, and leaves nothing in the PACS."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from tests.e2e.conftest import Site, running_site

pytestmark = pytest.mark.e2e

QUICK = {"quiet_time_s = 60": "quiet_time_s = 2"}


@pytest.fixture
def site(tmp_path: Path, program: Callable[[str], str]) -> Iterator[Site]:
    with running_site(tmp_path, program, QUICK) as opened:
        yield opened


def n_series(paths: list[Path]) -> int:
    return len({pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID for path in paths})


@pytest.mark.parametrize("folder", ["router_negatives", "direct_fieldmap_traps"])
def test_everything_that_is_no_phase_series_is_refused_or_ignored_with_a_sentence(
    folder: str, site: Site, data_dir: Path, program: Callable
) -> None:
    paths = [path for path in (data_dir / folder).rglob("*") if path.is_file() and is_dicom(path)]

    site.send_with_dcmtk(program("storescu"), paths)
    ended = site.node.wait_for_final_states(n_series(paths))

    assert len(ended) == n_series(paths)
    assert {series["state"] for series in ended} <= {"refused", "ignored"}
    for series in ended:
        assert series["sentence"].startswith("Ignored on purpose") == (series["state"] == "ignored")
        assert len(series["sentence"].split()) > 5
    assert site.derived_images() == []
    assert site.reports() == []
    kept = list((site.node.folder / "inbox").rglob("*.dcm"))
    assert len(kept) == len(paths)


def test_a_missing_slice_is_named_and_nothing_is_mapped(
    site: Site, philips: dict[str, list[Path]], program: Callable
) -> None:
    without = [path for path in philips["classic"] if not is_third_slice_phase_echo_2(path)]
    assert len(without) == len(philips["classic"]) - 1

    site.send_with_dcmtk(program("storescu"), without)
    (series,) = site.node.wait_for_final_states(1)

    assert series["state"] == "refused"
    assert "echo 2" in series["sentence"]
    assert "slice" in series["sentence"]
    assert site.derived_images() == []


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_third_slice_phase_echo_2(path: Path) -> bool:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    slices = header[0x2001, 0x100A].value
    return int(slices) == 3 and header.ImageType[3] == "P" and int(header.EchoNumbers) == 2
