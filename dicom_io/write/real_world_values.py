"""Say what stored values mean: quantity and unit of every map, for readers that apply Real World Value Mapping."""

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_io.codes import (
    MAGNETIC_SUSCEPTIBILITY,
    PARTS_PER_BILLION,
    PARTS_PER_MILLION,
    QUANTITY,
    code_item,
)

LARGEST_STORED = 32767


@dataclass(frozen=True)
class ValueMapping:
    """One linear mapping: real value = `slope` × stored value, in `unit`, of `quantity`.

    `label` has at most 16 characters (VR SH), `explanation` at most 64 (VR LO).
    """

    quantity: Code
    unit: Code
    slope: float
    label: str
    explanation: str


SUSCEPTIBILITY_IN_PPM = ValueMapping(
    MAGNETIC_SUSCEPTIBILITY, PARTS_PER_MILLION, 0.001, "QSM ppm", "Magnetic susceptibility in ppm"
)
SUSCEPTIBILITY_IN_PPB = ValueMapping(
    MAGNETIC_SUSCEPTIBILITY, PARTS_PER_BILLION, 1.0, "QSM ppb", "Magnetic susceptibility in ppb"
)


def signed_mapping(mapping: ValueMapping, lowest: int = -LARGEST_STORED, highest: int = LARGEST_STORED) -> Dataset:
    """Write a mapping of signed integer pixels as one item of Real World Value Mapping (PS3.3 C.7.6.16.2.11).

    Parameters
    ----------
    mapping
        What the values mean.
    lowest, highest
        The stored values to which it applies.
    """
    item = _described(mapping)
    # The VR follows PixelRepresentation of the enclosing image (PS3.5 A), which this item cannot see.
    item.add_new("RealWorldValueFirstValueMapped", "SS", lowest)
    item.add_new("RealWorldValueLastValueMapped", "SS", highest)
    item.RealWorldValueIntercept = 0.0
    item.RealWorldValueSlope = mapping.slope
    return item


def quantity_definition(quantity: Code) -> Dataset:
    """Write what is measured as the content item that Quantity Definition asks for (PS3.16 CID 9000)."""
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [code_item(QUANTITY)]
    item.ConceptCodeSequence = [code_item(quantity)]
    return item


def _described(mapping: ValueMapping) -> Dataset:
    item = Dataset()
    item.LUTExplanation = mapping.explanation
    item.LUTLabel = mapping.label
    item.MeasurementUnitsCodeSequence = [code_item(mapping.unit)]
    item.QuantityDefinitionSequence = [quantity_definition(mapping.quantity)]
    return item
