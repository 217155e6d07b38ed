import pytest
from pydicom.dataset import Dataset
from pynetdicom.sop_class import StorageCommitmentPushModelInstance

from dicom_io.errors import MalformedReport
from dicom_io.network.commitment_report import CommitmentAnswer, failure_meaning, read_report
from tests.dicom_io.network.committing_archive import report_of


@pytest.mark.parametrize("event_type", [1, 2])
def test_the_sequences_decide_and_not_the_event_type(event_type: int) -> None:
    report = report_of("2.25.1", ["1.1", "1.2"], {"1.2": 0x0112, "1.3": 0x0213})
    answer = read_report(StorageCommitmentPushModelInstance, event_type, report)
    assert answer == CommitmentAnswer("2.25.1", ("1.1",), (("1.2", 0x0112), ("1.3", 0x0213)))


def test_an_object_named_twice_is_committed_once() -> None:
    assert read_report(None, 1, report_of("2.25.1", ["1.1", "1.1"])).committed == ("1.1",)


@pytest.mark.parametrize(("event_type", "status"), [(0, 0x0113), (3, 0x0113), (None, 0x0113)])
def test_an_event_that_storage_commitment_does_not_have_is_refused(event_type: int | None, status: int) -> None:
    with pytest.raises(MalformedReport) as raised:
        read_report(None, event_type, report_of("2.25.1", ["1.1"]))
    assert raised.value.status == status


@pytest.mark.parametrize("report", [Dataset(), report_of("2.25.1"), report_of(None, ["1.1"])])
def test_a_report_that_names_no_transaction_or_no_object_is_refused(report: Dataset) -> None:
    with pytest.raises(MalformedReport) as raised:
        read_report(None, 1, report)
    assert raised.value.status == 0x0115


def test_every_reason_of_the_standard_has_words_and_others_keep_their_number() -> None:
    known = [0x0110, 0x0112, 0x0119, 0x0122, 0x0131, 0x0213]
    assert len({failure_meaning(code) for code in known}) == len(known)
    assert not any("unknown" in failure_meaning(code) for code in known)
    assert "0x0999" in failure_meaning(0x0999)
