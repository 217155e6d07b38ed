"""What made an object, in DICOM's words: contributing equipment, derivation text, research flag."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset

from dicom_io.codes import ACQUISITION_EQUIPMENT, PROCESSING_EQUIPMENT, code_item
from dicom_io.series import SourceSeries
from dicom_io.write.copied_values import copied_element

MANUFACTURER = "Lodestone"
RESEARCH_SENTENCE = "For research use only. Not for diagnosis."
_SHORT_TEXT = 1024  # VR ST, PS3.5 6.2
_ABOUT_A_SCANNER = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "StationName",
    "InstitutionName",
)
_SPELLED_OUT = {
    "–": "-",
    "—": "-",
    "−": "-",
    "π": "pi",
    "±": "+/-",
    "×": "x",
    "·": "*",
    "µ": "u",
    "μ": "u",
    "χ": "chi",
    "²": "^2",
    "³": "^3",
    "°": " degrees",
    "≤": "<=",
    "≥": ">=",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """One mapping run as its outputs describe it.

    `input_digest` is the SHA-256 over the sorted SHA-256 of the input files. `method_sentence` names the algorithms,
    `reference` the tissue that is zero. `weights` holds name and SHA-256 of the weights of every network of the recipe;
    where there is one, `map_sentence` says whether the map is the network's, and why. `performed_at` must be the same
    on every retry: it is written into the bytes. `device_uid` changes whenever the software or its weights change
    (IHE AIR 6.5.3.1). `map_by` tells a further map of the same series from the first, in UIDs and in the series' name.
    """

    software_version: str
    code_revision: str
    recipe_name: str
    recipe_digest: str
    method_sentence: str
    reference: str
    input_digest: str
    device_uid: str
    node_ae_title: str
    performed_at: datetime
    research_use_only: bool = True
    weights: tuple[tuple[str, str], ...] = ()
    map_sentence: str = ""
    map_by: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """Return what, besides the voxels, makes two runs' objects different objects."""
        weights = (sha256 for _, sha256 in self.weights)
        further = (self.map_by,) if self.map_by else ()
        return self.input_digest, self.recipe_digest, self.software_version, self.code_revision, *weights, *further

    @property
    def weights_sentence(self) -> str:
        """Return the weights' names and digests in a sentence; empty where no network computed."""
        named = ", ".join(f"{name} SHA-256 {sha256}" for name, sha256 in self.weights)
        return f"Weights: {named}." if named else ""


def plain_text(text: str, limit: int) -> str:
    """Spell a sentence in ASCII and cut it to `limit` characters: the source's character set may hold nothing else."""
    spelled = "".join(_SPELLED_OUT.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", spelled)
    without_accents = "".join(character for character in decomposed if not unicodedata.combining(character))
    ascii_text = without_accents.encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return ascii_text if len(ascii_text) <= limit else ascii_text[: limit - 3] + "..."


def derivation_description(
    source: SourceSeries, run: RunDescription, clipped_voxels: int = 0, values: str = "", clipped_to: str = ""
) -> str:
    """Say in at most 1024 characters how the map was made, the facts first and the method sentence last.

    Parameters
    ----------
    source
        What the map was made of.
    run
        What made it.
    clipped_voxels
        How many did not fit.
    values
        What the stored values are, in a sentence; those of a susceptibility map where absent.
    clipped_to
        The range that fits, in words; that of a susceptibility map where absent.
    """
    echoes = ", ".join(f"{1000 * echo_time:g}" for echo_time in source.echo_times_s)
    facts = [
        f"Quantitative susceptibility mapping by Lodestone {run.software_version} (revision {run.code_revision}).",
        values or "Values in ppb, paramagnetic positive.",
        f"Reference: {run.reference}.",
        f"Echo times {echoes} ms at {source.magnetic_field_strength_t:g} T.",
        f"Phase: {source.phase_scaling.rstrip('.')}.",
        f"Recipe {run.recipe_name}, SHA-256 {run.recipe_digest}. Input SHA-256 {run.input_digest}.",
    ]
    facts += [sentence for sentence in (run.map_sentence, run.weights_sentence) if sentence]
    if run.research_use_only:
        facts.append(RESEARCH_SENTENCE)
    if clipped_voxels:
        facts.append(f"{clipped_voxels} voxels were clipped to {clipped_to or '+/-32767 ppb'}.")
    return plain_text(" ".join([*facts, run.method_sentence]), _SHORT_TEXT)


def contributing_equipment(source: SourceSeries, run: RunDescription) -> list[Dataset]:
    """Name the scanner and this node as the two machines behind an object (PS3.3 C.12.1, CID 7005)."""
    return [_scanner(source.template), _node(run)]


def _scanner(template: Dataset) -> Dataset:
    item = Dataset()
    item.Manufacturer = "unknown"
    for keyword in _ABOUT_A_SCANNER:
        copied = copied_element(template[keyword]) if template.get(keyword) else None
        if copied is not None:
            item[keyword] = copied
    item.PurposeOfReferenceCodeSequence = [code_item(ACQUISITION_EQUIPMENT)]
    return item


def _node(run: RunDescription) -> Dataset:
    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = MANUFACTURER
    item.SoftwareVersions = [plain_text(run.software_version, 64), plain_text(run.code_revision, 64)]
    item.DeviceUID = run.device_uid
    item.StationName = plain_text(run.node_ae_title, 16)
    item.ContributionDateTime = f"{run.performed_at:%Y%m%d%H%M%S}"
    description = " ".join(filter(None, (f"{run.recipe_name}:", run.weights_sentence, run.method_sentence)))
    item.ContributionDescription = plain_text(description, _SHORT_TEXT)
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    return item
