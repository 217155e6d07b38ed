"""Whatever a peer answers, it is read as what it says or refused: never a crash, never a promise that was not made."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_io.errors import PeerRefused, QueryNotOffered
from dicom_io.network.dicomweb import find_held_over_web, store_over_web
from dicom_io.network.part10 import read_envelope
from dicom_io.network.peers import Caller
from dicom_io.network.send_result import SendResult
from dicom_io.network.storage_commitment import CommitmentAnswer
from dicom_io.network.storage_scp import ScpSettings, StorageScp
from tests.dicom_io.network.committing_archive import send_report
from tests.dicom_io.network.conftest import write_image
from tests.dicom_io.network.web_archive import WebArchive, running_web_archive

FAILED, REFERENCED, UID, REASON = "00081198", "00081199", "00081155", "00081197"
OURS = "1.2.826.0.1.3680043.8.498.1"

plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.just(OURS)
)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([FAILED, REFERENCED, UID, REASON, "Value", "00080018"]), inner, max_size=3)
    ),
    max_leaves=12,
)
items = st.lists(
    st.fixed_dictionaries({UID: st.fixed_dictionaries({"Value": st.lists(plain, max_size=2)})}), max_size=3
)
answers = anything | st.fixed_dictionaries(
    {REFERENCED: st.fixed_dictionaries({"Value": items}), FAILED: st.fixed_dictionaries({"Value": items | anything})}
)
every_answer = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def archive() -> Iterator[WebArchive]:
    """Run a DICOMweb service."""
    with running_web_archive() as made:
        yield made


def names(answer: object, sequence: str) -> set[str]:
    """Return the UIDs that a STOW-RS answer names in one sequence, read in another way than the code does."""
    found = set()
    for dataset in answer if isinstance(answer, list) else [answer]:
        element = dataset.get(sequence) if isinstance(dataset, dict) else None
        values = element.get("Value") if isinstance(element, dict) else None
        for item in values if isinstance(values, list) else []:
            uids = item.get(UID) if isinstance(item, dict) else None
            value = uids.get("Value") if isinstance(uids, dict) else None
            if isinstance(value, list) and value:
                found.add(str(value[0]))
    return found


@every_answer
@given(answer=answers)
@example(answer={REFERENCED: {"Value": [{UID: {"Value": [OURS]}}]}})
@example(answer={REFERENCED: {"Value": [{UID: {"Value": [OURS]}}]}, FAILED: {"Value": [{UID: {"Value": [OURS]}}]}})
def test_only_what_an_answer_names_as_stored_and_not_as_failed_is_accepted(
    archive: WebArchive, tmp_path: Path, answer: object
) -> None:
    image = write_image(tmp_path / "image.dcm", uid=OURS)
    assert read_envelope(image).SOPInstanceUID == OURS
    archive.body = json.dumps(answer).encode()
    heard: list[SendResult] = []
    try:
        store_over_web(archive.peer(), [image], heard.append)
    except PeerRefused:
        assert not heard[0].is_accepted
    if heard[0].is_accepted:
        assert OURS in names(answer, REFERENCED) - names(answer, FAILED)


@every_answer
@given(answer=anything)
def test_a_search_finds_nothing_that_was_not_asked_for(archive: WebArchive, answer: object) -> None:
    archive.body = json.dumps(answer).encode()
    with suppress(PeerRefused, QueryNotOffered):
        assert find_held_over_web(archive.peer(), "1.2", "1.3", [OURS, "1.4"]) <= {OURS, "1.4"}


@pytest.fixture
def reporting() -> Iterator[tuple[Association, list[CommitmentAnswer]]]:
    """Open an association on which reports can be sent to our listener; return also what its handler hears."""
    heard: list[CommitmentAnswer] = []
    scp = StorageScp(
        ScpSettings("NODE", reporters=(Caller("ARCHIVE"),)),
        on_instance=lambda incoming: None,
        on_failure=lambda error, calling_ae, association: 0x0110,
        on_refusal=lambda what, calling_ae, reason: None,
        on_end=lambda calling_ae, association: None,
        on_commitment=lambda answer, calling_ae: heard.append(answer) or 0x0000,
    )
    scp.start()
    entity = AE("ARCHIVE")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", scp.port, ae_title="NODE")
    # The reactor would take the answers away.
    association._reactor_checkpoint.clear()
    yield association, heard
    association._reactor_checkpoint.set()
    association.release()
    scp.stop(1.0)


@every_answer
@given(report=st.binary(min_size=1, max_size=200))
def test_noise_in_a_report_is_refused_and_the_association_goes_on(
    reporting: tuple[Association, list[CommitmentAnswer]], report: bytes
) -> None:
    association, heard = reporting
    assert send_report(association, report) in (0x0110, 0x0115)
    assert not heard
