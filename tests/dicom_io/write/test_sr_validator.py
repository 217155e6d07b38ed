"""An independent program that knows the templates (PixelMed) finds no error in either form of the report."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.segmentation import segmentation
from tests.conftest import INSTALL_HINT
from tests.dicom_io.write.conftest import NAMES, QUALITY, map_of, mask_and_labels

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JARS = Path("/usr/share/java")
CLASS_PATH = [JARS / f"{name}.jar" for name in ("pixelmed", "commons-codec", "vecmath", "slf4j-api", "slf4j-nop")]
# Its templates are large style sheets: newer Java limits such expressions, and compiling them hard is not worth it.
JAVA_FLAGS = (
    "-XX:TieredStopAtLevel=1",
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathTotalOpLimit=0",
    "-Djdk.xml.xpathExprGrpLimit=0",
)
VALUES = [
    RegionValues("Brain", 0.0, 80.0, 0.5, 1200.0, 1),
    RegionValues("left caudate", 41.25, 12.0, 40.5, 3.5, 2, TrustValues(38.0, 4.5, 0.12)),
    RegionValues("dentate R", 90.0, 20, 88, 0.5, 3),
    RegionValues("subthalamic nucleus left", 30.0, 5.0, 30.0, 0.1, 4),
]
SENTENCES = ("The map is the network's: every check was passed.", "The field is noisy (16.2 ppb).")


def require_jars() -> None:
    """Skip where PixelMed's classes are missing, or fail where peers are required."""
    missing = [jar.name for jar in CLASS_PATH if not jar.is_file()]
    if missing:
        message = f"The SR validator lacks {', '.join(missing)}: {INSTALL_HINT}."
        if os.environ.get("LODESTONE_REQUIRE_PEERS"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def judgement(program: Callable[[str], str], tmp_path: Path) -> Callable[[Dataset], list[str]]:
    """Return the function that asks the validator for everything it says of a document."""
    java = program("java")
    require_jars()

    def judge(document: Dataset) -> list[str]:
        path = tmp_path / "document.dcm"
        path.write_bytes(to_bytes(document))
        class_path = ":".join(map(str, CLASS_PATH))
        command = [java, *JAVA_FLAGS, "-cp", class_path, "com.pixelmed.validate.DicomSRValidator", str(path)]
        judged = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        said = judged.stdout.splitlines()
        assert any(line.startswith("Found ") and line.endswith(" IOD") for line in said), said
        assert any(line.startswith("Found Root Template") for line in said), said
        assert said[-1] == "IOD validation complete"
        return said

    return judge


@pytest.fixture
def inputs(simulated: SourceSeries, learned_run: RunDescription):
    mask, labels = mask_and_labels(simulated)
    labels[2, 20:22, 20:24] = 3
    images = susceptibility_series(map_of(simulated), simulated, learned_run)
    return mask, labels, segmentation(mask, labels, NAMES, images, simulated, learned_run), images


def errors(said: list[str]) -> list[str]:
    return [line for line in said if "Error" in line]


@pytest.mark.parametrize("values", [VALUES, []], ids=["regions and figures", "figures only"])
def test_the_form_that_refers_to_segments_has_no_error(
    values: list[RegionValues], inputs, judgement, simulated: SourceSeries, learned_run: RunDescription
) -> None:
    _, _, regions, images = inputs
    report = measurement_report(values, regions, images, simulated, learned_run, QUALITY, SENTENCES)
    assert errors(judgement(report)) == []


@pytest.mark.parametrize(
    ("values", "quality"),
    [(VALUES, QUALITY), (VALUES, {}), (VALUES[:1], {})],
    ids=["outlines and figures", "outlines only", "one outline"],
)
def test_the_form_that_draws_outlines_has_no_error(
    values: list[RegionValues],
    quality: dict[str, float],
    inputs,
    judgement,
    simulated: SourceSeries,
    learned_run: RunDescription,
) -> None:
    mask, labels, _, images = inputs
    report = planar_report(values, mask, labels, images, simulated, learned_run, quality, SENTENCES)
    assert errors(judgement(report)) == []


def test_the_validator_would_find_an_error(
    inputs, judgement, simulated: SourceSeries, learned_run: RunDescription
) -> None:
    _, _, regions, images = inputs
    report = measurement_report(VALUES[:2], regions, images, simulated, learned_run, {})
    (measurements,) = [item for item in report.ContentSequence if item.get("ContinuityOfContent") == "CONTINUOUS"]
    group = measurements.ContentSequence[-1]
    group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "IMAGE"]
    assert any("Referenced Segment" in line for line in errors(judgement(report)))


def test_of_a_key_object_selection_it_misreads_the_modifiers_condition_only(
    inputs, judgement, simulated: SourceSeries, run_description: RunDescription
) -> None:
    *_, images = inputs
    flag = key_object_selection(images, SENTENCES, simulated, run_description)
    # TID 2010 asks for the modifier where the title is "Quality Issue"; the program looks for the title outside the
    # document's root, never finds it, and takes the modifier for the one of "Best In Set" as well.
    complaints = errors(judgement(flag))
    assert len(complaints) == 2
    assert all("Conditional content item present when condition not satisfied" in line for line in complaints)
    assert ["[Row 3] CODE CID 7011" in complaints[0], "[Row 4] CODE CID 7012" in complaints[1]] == [True, True]
