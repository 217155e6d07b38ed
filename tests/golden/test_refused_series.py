"""Real series that must not become a map, and the class and sentence with which each is refused."""

import shutil
from pathlib import Path

import pytest

from dicom_io import errors
from dicom_io.read.reader import find_acquisitions, read_echo_series

pytestmark = pytest.mark.golden

REFUSED = [
    ("siemens_prisma_xa30_enhanced_fieldmap/8_magnitude", errors.PhaseMissing, "switch on phase"),
    ("siemens_prisma_xa30_enhanced_fieldmap/9_phasediff", errors.PhaseDifference, "field-map sequence"),
    ("siemens_prisma_xa30_enhanced_fieldmap/99_phoenix_sr", errors.UnsupportedObject, "Enhanced SR Storage"),
    ("siemens_prisma_ve11c_fieldmap_phantom/2_magnitude", errors.PhaseMissing, "switch on phase"),
    ("siemens_prisma_ve11c_fieldmap_phantom/3_phasediff", errors.PhaseDifference, "field-map sequence"),
    ("direct_fieldmap_traps/ge_architect_dv27_b0rf", errors.FieldMapNotPhase, "hertz"),
    ("direct_fieldmap_traps/philips_achieva_530_b0", errors.FieldMapNotPhase, "hertz"),
    ("router_negatives/siemens_terra_xa60_7t_bold_enhanced", errors.NoPhaseInProtocol, "BOLD"),
    ("router_negatives/uih_umr770_r002_t1_gre3d", errors.NoPhaseInProtocol, "inversion recovery"),
    ("router_negatives/canon_galan_v61_dwi_classic", errors.NoPhaseInProtocol, "spin echo"),
]


@pytest.mark.parametrize(("folder", "expected", "phrase"), REFUSED, ids=[entry[0] for entry in REFUSED])
def test_a_series_without_phase_of_every_echo_is_refused_by_its_own_class(
    data_dir: Path, folder: str, expected: type[errors.DicomError], phrase: str
) -> None:
    with pytest.raises(errors.DicomError, match=phrase) as refusal:
        read_echo_series(sorted((data_dir / folder).iterdir()))
    assert type(refusal.value) is expected


@pytest.mark.parametrize("scanner", ["siemens_prisma_xa30_enhanced_fieldmap", "siemens_prisma_ve11c_fieldmap_phantom"])
def test_magnitude_with_its_phase_difference_stays_a_phase_difference(data_dir: Path, scanner: str) -> None:
    paths = [path for path in sorted((data_dir / scanner).glob("[2389]_*/*")) if path.is_file()]
    with pytest.raises(errors.PhaseDifference):
        read_echo_series(paths)


def test_a_phase_difference_is_known_without_its_sequence_name(data_dir: Path, tmp_path: Path) -> None:
    """An anonymiser may remove the name of the sequence; Siemens' protocol text still names it."""
    source = data_dir / "siemens_prisma_ve11c_fieldmap_phantom/3_phasediff/e2_19_ph.dcm"
    renamed = tmp_path / source.name
    shutil.copyfile(source, renamed)
    renamed.chmod(0o600)
    renamed.write_bytes(source.read_bytes().replace(b"*fm2d2r", b"*xx2d2r"))
    with pytest.raises(errors.PhaseDifference):
        read_echo_series([renamed])


@pytest.mark.parametrize(
    "folder", ["router_negatives", "direct_fieldmap_traps", "siemens_prisma_ve11c_fieldmap_phantom"]
)
def test_nothing_in_such_a_folder_is_offered_for_mapping(data_dir: Path, folder: str) -> None:
    found = find_acquisitions(data_dir / folder)
    assert len(found) >= 2
    assert all(item.refusal is not None for item in found)


MALFORMED = [
    "malformed_pydicom",
    "encapsulation_dicomparser",
    "interop_highdicom",
    "interop_dcmqi/segmentations",
    "interop_dcmqi/sr-example",
]


@pytest.mark.parametrize("folder", MALFORMED)
def test_a_malformed_or_foreign_file_is_refused_and_never_a_surprise(data_dir: Path, folder: str) -> None:
    files = [path for path in sorted((data_dir / folder).rglob("*")) if path.is_file()]
    assert files
    for path in files:
        with pytest.raises(errors.Permanent) as refusal:
            read_echo_series([path])
        assert str(refusal.value).startswith(path.name)
