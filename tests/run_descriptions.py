"""A run as the tests of writers and pages describe it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dicom_io.write.provenance import RunDescription

_RUN = RunDescription(
    software_version="0.1.0",
    code_revision="1234abc",
    recipe_name="default",
    recipe_digest="a" * 64,
    method_sentence="Total field inversion.",
    reference="whole brain mean",
    input_digest="b" * 64,
    device_uid="2.25.1234",
    node_ae_title="LODESTONE",
    performed_at=datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC),
)


def described(**changes: Any) -> RunDescription:
    """Return the description of a run of the default recipe, with what a test wants otherwise."""
    return replace(_RUN, **changes)
