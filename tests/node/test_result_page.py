"""The page of a run shows what its summary holds, alone in a browser, and runs nothing that was received."""

import base64
import re
from typing import Any

import pytest

from node.result_page import result_page

PICTURE = b"\x89PNG picture"
HOSTILE = "<script>alert(1)</script>"
PLAIN = {"mean_ppb": -0.04, "sd_ppb": 20.0, "volume_ml": 1200.0, "name": "Brain", "n_voxels": 9, "label": 0}
LEARNED = PLAIN | {
    "name": "right putamen",
    "mean_ppb": 60.0,
    "classical_mean_ppb": 55.0,
    "difference_ppb": 5.0,
    "half_width_ppb": 6.4,
    "cone_share_percent": 7.4,
}


def summary(**changed: Any) -> dict[str, Any]:
    return {
        "performed_at": "2026-11-21T20:56:49+00:00",
        "software": {"lodestone": "0.2.0"},
        "device": "cpu, 2 threads",
        "input": {"digest": "a" * 64, "files": [{"path": "/home/reader/image.dcm", "sha256": "b" * 64}]},
        "acquisition": {
            "n_echoes": 2,
            "echo_times_s": [0.0023, 0.0046],
            "b0_tesla": 3.0,
            "voxel_size_mm_zyx": [2.0, 1.0, 1.0],
            "b0_direction_zyx": [1.0, 0.0, 0.0],
        },
        "recipe": {
            "name": "default",
            "digest": "c" * 64,
            "steps": {
                "dipole_inversion": {"method": "tkd", "citation": "Shmueli 2009", "settings": {"threshold": 0.1}}
            },
        },
        "reference": "whole brain",
        "quality": {"field_noise_median_ppb": 3.94},
        "warnings": [],
        "susceptibility_source": "classical",
        "findings": [],
        "weights": {},
        "regions": [PLAIN],
        "files": [
            {"path": "susceptibility.nii.gz", "kind": "NIfTI susceptibility", "unit": "ppm", "sha256": "d" * 64},
            {"path": "dicom/0001.dcm", "kind": "DICOM susceptibility", "unit": "ppb", "sha256": "e" * 64},
        ],
    } | changed


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_classical_map_has_its_values_steps_and_files() -> None:
    page = result_page(summary(), PICTURE)
    shown = words(page)
    for expected in ("the classical map ·", "Brain 0.0 20.0 1200.00 ml", "threshold = 0.1", "Shmueli 2009", "3.9 ppb"):
        assert expected in shown
    assert "1 DICOM objects lie in the folder dicom" in shown
    assert 'href="susceptibility.nii.gz"' in page
    assert base64.b64encode(PICTURE).decode() in page
    assert "Difference" not in shown


def test_a_learned_map_stands_beside_the_classical_one() -> None:
    page = result_page(
        summary(susceptibility_source="learned", weights={"net": "f" * 64}, regions=[PLAIN, LEARNED]), b""
    )
    assert "right putamen 60.0 20.0 6.4 55.0 5.0 7 % 1200.00 ml" in words(page)
    marks = dict(re.findall(r'class="(classical|mean)" (?:x1|cx)="([\d.]+)"', page))
    assert float(marks["classical"]) < float(marks["mean"])


def test_the_map_that_took_the_networks_place_is_named_and_why() -> None:
    sentence = "The scan is unlike those that the network was trained on."
    finding = {"name": "envelope", "sentence": sentence, "figures": {}, "is_warning": True}
    page = result_page(summary(weights={"net": "f" * 64}, findings=[finding], warnings=[sentence]), b"")
    assert "the classical map in the network's place" in words(page).replace("&#39;", "'")
    assert sentence in page
    assert "verdict failed" in page


def test_a_run_without_regions_has_no_table_of_them() -> None:
    assert "<h2>Regions" not in result_page(summary(regions=[]), b"")


@pytest.mark.parametrize("place", ["warnings", "regions", "reference"])
def test_no_received_text_becomes_part_of_the_page(place: str) -> None:
    hostile = {"warnings": [HOSTILE], "regions": [PLAIN | {"name": HOSTILE}], "reference": HOSTILE}
    page = result_page(summary(**{place: hostile[place]}), b"")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_fetches_nothing_and_names_no_path_of_the_input() -> None:
    page = result_page(summary(), PICTURE)
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/png|[a-z_.]+")', page)
    assert "/home/reader" not in page
