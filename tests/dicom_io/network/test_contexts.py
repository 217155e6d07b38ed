import pytest
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    RawDataStorage,
)

from dicom_io.network.contexts import (
    LOSSY,
    MOST_CONTEXTS,
    RESULT_CLASSES,
    contexts_to_offer,
    lots_of_objects,
    sop_class_name,
    storage_contexts,
)


def accepted_classes() -> set[str]:
    return {str(context.abstract_syntax) for context in storage_contexts()}


def test_images_and_what_scanners_send_with_them_are_accepted_and_ct_is_not() -> None:
    assert {MRImageStorage, EnhancedMRImageStorage, RawDataStorage} <= accepted_classes()
    assert CTImageStorage not in accepted_classes()


def test_lossy_compression_is_the_last_choice() -> None:
    for context in storage_contexts()[:-1]:
        syntaxes = [str(syntax) for syntax in context.transfer_syntax]
        assert syntaxes[0] == ExplicitVRLittleEndian
        assert set(syntaxes[-len(LOSSY) :]) == set(LOSSY)


def test_each_kind_of_object_is_offered_in_its_own_syntax_so_that_its_bytes_can_go_out_as_they_are() -> None:
    offered = contexts_to_offer([(MRImageStorage, JPEG2000Lossless), (MRImageStorage, JPEG2000Lossless)])
    assert [(context.abstract_syntax, context.transfer_syntax) for context in offered] == [
        (MRImageStorage, [JPEG2000Lossless])
    ]


def test_an_uncompressed_object_is_also_offered_in_the_syntax_every_archive_takes() -> None:
    offered = contexts_to_offer([(MRImageStorage, ExplicitVRLittleEndian)])
    assert {context.transfer_syntax[0] for context in offered} == {ExplicitVRLittleEndian, ImplicitVRLittleEndian}


def test_more_contexts_than_an_association_can_carry_are_refused() -> None:
    many = [(f"1.2.3.{number}", JPEG2000Lossless) for number in range(MOST_CONTEXTS + 1)]
    with pytest.raises(ValueError, match="smaller lots"):
        contexts_to_offer(many)


def test_lots_keep_the_order_and_each_fits_into_one_association() -> None:
    many = [(f"1.2.3.{number % 60}", ExplicitVRBigEndian) for number in range(200)]
    lots = lots_of_objects(many, lambda pair: pair)
    assert [pair for lot in lots for pair in lot] == many
    assert len(lots) > 1
    assert all(len(contexts_to_offer(lot)) <= MOST_CONTEXTS for lot in lots)
    assert lots_of_objects(many[:40] * 50, lambda pair: pair) == [many[:40] * 50]


def test_what_the_node_makes_fits_into_one_association() -> None:
    made = [(sop_class, ExplicitVRLittleEndian) for sop_class in RESULT_CLASSES]
    assert len(lots_of_objects(made, lambda pair: pair)) == 1
    assert {GrayscaleSoftcopyPresentationStateStorage, KeyObjectSelectionDocumentStorage} <= set(RESULT_CLASSES)


def test_a_malformed_sop_class_is_not_repeated_in_a_sentence() -> None:
    assert sop_class_name(CTImageStorage) == "CT Image Storage"
    assert sop_class_name("1.3.46.670589.11.0.0.12.1") == "1.3.46.670589.11.0.0.12.1"
    assert sop_class_name("../../etc/passwd") == "a malformed SOP class UID"
