import pytest

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.readout_heads import PHASE_CORRECTION, REVERSE
from dicom_io.kspace.scan import EPI, imaging_readouts, navigator_readouts
from dicom_io.kspace.twix import read_twix

CONTENTS = (b"", b"no twix file", bytes(4096), b"\0\0\0\0\x02\0\0\0" + bytes(range(256)) * 64)


# The package leaves a damaged file open for the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("content", CONTENTS, ids=("empty", "text", "zeros", "header only"))
def test_another_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "scan.dat"
    path.write_bytes(content)
    with pytest.raises(MalformedRawData, match="twix file"):
        read_twix(path)


@pytest.mark.golden
def test_a_real_gradient_echo_is_read_whole(data_dir):
    scan = read_twix(data_dir / "kspace_siemens_skyra_twix" / "gre.dat")
    assert len(imaging_readouts(scan)) == scan.n_readouts == 160
    assert scan.samples[0].shape == (2, 320)
    assert sorted(scan.step_1) == list(range(160))
    assert scan.header.echo_times_s == (0.003,)
    assert scan.header.recon.shape == (1, 160, 160)
    assert scan.header.recon.voxel_size_mm == (4.0, 1.25, 1.25)
    assert scan.header.field_strength_t == pytest.approx(2.89362)


@pytest.mark.golden
def test_a_real_echo_planar_image_is_read_with_its_navigators(data_dir):
    scan = read_twix(data_dir / "kspace_siemens_skyra_twix" / "epi.dat")
    assert scan.header.trajectory == EPI
    assert scan.header.echo_spacing_s == pytest.approx(560e-6)
    assert len(imaging_readouts(scan)) == 80
    navigators = scan.flags[navigator_readouts(scan)]
    assert [bool(flags & REVERSE) for flags in navigators.tolist()] == [True, False, True]
    assert all(flags & PHASE_CORRECTION for flags in navigators.tolist())
