"""The summary is one or two pages with the patient, the verdict, the regions and what was done, the same every time."""

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.valuerep import PersonName

from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from dicom_io.write.provenance import RunDescription
from node.summary_fonts import printable, printable_name
from node.summary_pdf import summary_pdf
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, Quality
from pipeline.method import LEARNED_MAP_USED, Finding
from pipeline.regions.measurements import RegionMeasurement
from tests import run_descriptions
from tests.node import scans

FIGURES = {"mask_volume_ml": 1312.4, "field_noise_median_ppb": 2.31}
IS_USED = Finding("source", "The susceptibility is the network's.", {LEARNED_MAP_USED: 1.0}, is_warning=False)
WEIGHTS = {"lodestone_net": "9" * 64}
RESEARCH = "For research use only"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceSeries:
    return read_source(scans.write(tmp_path_factory.mktemp("scan"), scans.instances()))


@pytest.fixture
def words(program: Callable[[str], str], tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Return the function that reads a PDF's pages as text with an independent program."""
    pdftotext = program("pdftotext")

    def read(content: bytes) -> list[str]:
        path = tmp_path / "summary.pdf"
        path.write_bytes(content)
        command = [pdftotext, "-layout", str(path), "-"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        return text.split("\f")[:-1]

    return read


def described(**changes: Any) -> RunDescription:
    run = run_descriptions.described(
        code_revision="source-0123456789ab",
        method_sentence="phase unwrapping by romeo (Dymerska 2021).",
        reference="whole brain",
    )
    return replace(run, **changes)


def arrays() -> dict[str, np.ndarray]:
    susceptibility = np.zeros(scans.SHAPE, np.float32)
    susceptibility[6:10, 12:20, 12:20] = 0.05
    mask = np.zeros(scans.SHAPE, np.uint8)
    mask[2:14, 4:28, 4:28] = 1
    return {"susceptibility": susceptibility, "mask": mask}


def regions(count: int, with_side: bool = True) -> list[RegionMeasurement]:
    named = [f"{('left', 'right')[number % 2]} nucleus {number // 2}" for number in range(count)]
    names = named if with_side else [f"structure {number}" for number in range(count)]
    brain = RegionMeasurement(0, "Brain", -0.001, 0.03, 0.0, 1312.4, 9999)
    return [brain, *(RegionMeasurement(n, name, 0.05, 0.01, 0.05, 1.5, 12) for n, name in enumerate(names, 1))]


def printed(source: SourceSeries, **changes: Any) -> bytes:
    given: dict[str, Any] = {
        "arrays": arrays(),
        "quality": Quality(FIGURES).as_dict(),
        "measured": regions(4),
        "source": source,
        "run": described(),
    }
    return summary_pdf(**(given | changes))


def named(source: SourceSeries, **attributes: Any) -> SourceSeries:
    template = deepcopy(source.template)
    for keyword, value in attributes.items():
        setattr(template, keyword, value)
    return replace(source, template=template)


def test_it_names_patient_verdict_regions_and_what_was_done(
    source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    patient = named(source, PatientName="Roe^Jane", PatientID="QA-7", PatientBirthDate="19630412")
    text = "\n".join(words(printed(patient, magnitude=np.ones(scans.SHAPE))))
    for expected in ("Roe, Jane", "QA-7", "1963-04-12", "Good", "Nucleus 0", "50.0 ± 10.0", "Right", "Left"):
        assert expected in text
    for expected in ("default", "romeo", "6, 18 ms", "3 T", "1312 ml", "whole brain", "aaaaaaaaaaaa", RESEARCH):
        assert expected in text


def test_the_research_flag_is_left_out_where_the_site_s_configuration_says_so(
    source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    text = "\n".join(words(printed(source, run=described(research_use_only=False))))
    assert RESEARCH.lower() not in text.lower()


def test_equal_runs_print_equal_bytes(source: SourceSeries) -> None:
    assert printed(source) == printed(source)
    assert printed(source) != printed(source, measured=regions(6))


@pytest.mark.slow
def test_another_process_prints_the_same_bytes(source: SourceSeries, tmp_path: Path) -> None:
    # Sets and hashes are ordered differently in each process.
    program = (
        "import sys; from tests.node.test_summary_pdf import printed; from tests.node import scans; "
        "from dicom_io.read.reader import read_source; from pathlib import Path; "
        "folder = Path(sys.argv[1]); source = read_source(scans.write(folder, scans.instances())); "
        "(folder / 'summary.pdf').write_bytes(printed(source))"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=root, timeout=120)
    assert (tmp_path / "summary.pdf").read_bytes() == printed(source)


@pytest.mark.parametrize("count", [0, 4, 60])
@pytest.mark.parametrize("with_side", [True, False])
def test_it_has_at_most_two_pages_and_every_page_bears_the_patient_s_id(
    count: int, with_side: bool, source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    measured = regions(count, with_side)
    pages = words(printed(named(source, PatientID="QA-7"), measured=measured, magnitude=np.ones(scans.SHAPE)))
    assert 1 <= len(pages) <= 2
    assert all(f"page {number} of {len(pages)}" in page for number, page in enumerate(pages, 1))
    assert all("QA-7" in page for page in pages)
    if count and not with_side:
        assert all(f"Structure {number}" in "\n".join(pages) for number in range(count))


def test_regions_beyond_what_two_pages_hold_are_counted_not_lost(
    source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    pages = words(printed(source, measured=regions(300, with_side=False)))
    assert len(pages) <= 2
    assert "further regions stand in the structured report" in "\n".join(pages)


def test_without_a_label_map_it_says_so(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    assert "No label map" in "\n".join(words(printed(source, measured=regions(0))))


def test_beside_a_network_s_map_the_classical_value_and_the_difference_are_printed(
    source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    quality = Quality({**FIGURES, LEARNED_MAP_USED: 1.0}, (), (IS_USED,), WEIGHTS).as_dict()
    made = arrays() | {CLASSICAL_SUSCEPTIBILITY: 0.9 * arrays()["susceptibility"]}
    measured = [replace(one, classical_mean=0.03, half_width=0.004) for one in regions(2)]
    run = described(weights=tuple(WEIGHTS.items()), map_sentence="This map is that of the network lodestone_net.")
    text = "\n".join(words(printed(source, arrays=made, quality=quality, measured=measured, run=run)))
    for expected in ("network lodestone_net", "classical", "30.0", "+20.0", "4.0", "999999999999"):
        assert expected in text


def test_a_warning_stands_on_the_first_page(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    quality = Quality(FIGURES, ("The field is noisy (16.2 ppb).",)).as_dict()
    first = words(printed(source, quality=quality))[0]
    assert "Usable with warnings" in first
    assert "The field is noisy (16.2 ppb)." in first


def test_markup_in_a_name_is_printed_and_not_obeyed(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    patient = named(source, PatientName="<b>Roe & Co", StudyDescription="a < b </para>")
    text = "\n".join(words(printed(patient)))
    assert "<b>Roe & Co" in text
    assert "a < b </para>" in text


def test_a_cyrillic_name_is_printed(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    patient = named(source, SpecificCharacterSet="ISO_IR 144", PatientName="Толстая^Софья")
    assert "Толстая, Софья" in words(printed(patient))[0]


def test_a_name_of_which_a_part_cannot_be_printed_keeps_its_other_groups_and_says_so(
    source: SourceSeries, words: Callable[[bytes], list[str]]
) -> None:
    # No left-to-right page spells Arabic letters one by one.
    patient = named(source, SpecificCharacterSet="ISO_IR 192", PatientName="Haddad^Layla=حداد^ليلى", PatientID="Q-1")
    first = words(printed(patient))[0]
    assert "Haddad, Layla" in first
    assert "cannot be printed here" in first


def test_a_group_is_whole_or_absent() -> None:
    assert printable("Müller").markup == "Müller"
    assert not printable("M\U000e0041\U0001f9ff").is_whole
    assert printable_name(None).markup == ""
    alone = printable_name(PersonName("حداد^ليلى"))
    assert (alone.markup, alone.is_whole) == ("", False)


def test_no_name_at_all_is_said(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    patient = named(source, PatientName=None, PatientBirthDate=None, AccessionNumber=None)
    text = words(printed(patient))[0]
    assert "no name that can be printed" in text
    assert "not stated" in text


def test_volumes_of_another_shape_are_refused(source: SourceSeries) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        printed(source, magnitude=np.ones((3, 3, 3)))


def test_every_font_is_embedded_so_that_any_viewer_prints_it(
    source: SourceSeries, program: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "summary.pdf"
    path.write_bytes(printed(source))
    listed = subprocess.run([program("pdffonts"), str(path)], check=True, capture_output=True, text=True, timeout=60)
    fonts = listed.stdout.splitlines()[2:]
    assert fonts
    assert all(line.split()[-5] == "yes" for line in fonts)


def test_what_fits_on_one_sheet_is_one_sheet(source: SourceSeries, words: Callable[[bytes], list[str]]) -> None:
    assert len(words(printed(source, measured=regions(0)))) == 1
