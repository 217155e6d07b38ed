import io

import ismrmrd
import numpy as np
import pytest

from dicom_io.errors import IncompleteRawData, MalformedRawData
from dicom_io.kspace.mrd_messages import Kind, MessageWalker, close_message, stream_of, text_message
from dicom_io.kspace.mrd_stream import read_stream
from tests.dicom_io.kspace.raw_scans import raw_scan


def walked(content, size):
    walker = MessageWalker()
    pieces = [memoryview(content)[start : start + size] for start in range(0, len(content), size)]
    return [message for piece in pieces for message in walker.feed(piece)], walker


def same(first, second):
    return np.array_equal(first.heads, second.heads) and all(
        np.array_equal(a, b) for a, b in zip(first.samples, second.samples, strict=True)
    )


@pytest.mark.parametrize("size", [1, 7, 400, 1 << 20])
def test_messages_are_found_however_the_stream_is_cut(size):
    scan = raw_scan()
    content = b"".join(stream_of(scan, "lodestone"))
    messages, walker = walked(content, size)
    kinds = [message.kind for message in messages]
    assert kinds == [Kind.CONFIG_FILE, Kind.HEADER, *[Kind.ACQUISITION] * scan.n_readouts, Kind.CLOSE]
    assert messages[0].text.rstrip(b"\0") == b"lodestone"
    assert walker.is_between_messages
    assert walker.offset == len(content)


def test_a_stream_comes_back_from_the_disk_as_it_was(tmp_path):
    scan = raw_scan()
    path = tmp_path / "stream"
    path.write_bytes(b"".join(stream_of(scan)))
    read = read_stream(path)
    assert same(scan, read)
    assert read.header.echo_times_s == scan.header.echo_times_s
    assert read.header.limits == scan.header.limits
    assert dict(read.header.identity) == dict(scan.header.identity)
    assert (read.header.encoded, read.header.recon) == (scan.header.encoded, scan.header.recon)


def test_the_ismrmrd_package_reads_what_we_write():
    scan = raw_scan()
    found = list(ismrmrd.ProtocolDeserializer(io.BytesIO(b"".join(stream_of(scan, "lodestone")))).deserialize())
    assert found[0] == "lodestone"
    assert found[1].encoding[0].encodedSpace.matrixSize.y == 4
    assert found[1].studyInformation.studyInstanceUID == scan.header.identity["StudyInstanceUID"]
    assert len(found) == 2 + scan.n_readouts
    assert np.array_equal(found[-1].data, scan.samples[-1])
    assert found[-1].idx.contrast == scan.contrast[-1]


def test_we_read_what_the_ismrmrd_package_writes(tmp_path):
    scan = raw_scan()
    header = ismrmrd.xsd.CreateFromDocument(next(iter(stream_of(scan)))[6:])
    path = tmp_path / "stream"
    with path.open("wb") as file, ismrmrd.ProtocolSerializer(file) as serializer:
        serializer.serialize(ismrmrd.ConfigText("<config/>"))
        serializer.serialize(header)
        wave = ismrmrd.Waveform.from_array(np.arange(12, dtype=np.uint32).reshape(3, 4))
        serializer.serialize(wave)
        for head, samples in zip(scan.heads, scan.samples, strict=True):
            theirs = ismrmrd.AcquisitionHeader.from_buffer_copy(head.tobytes())
            theirs.trajectory_dimensions = 2
            trajectory = np.ones((samples.shape[1], 2), np.float32)
            serializer.serialize(ismrmrd.Acquisition(theirs, samples, trajectory))
        serializer.serialize(ismrmrd.Image.from_array(np.ones((2, 3), np.float32)))
        serializer.serialize("a note")
    read = read_stream(path)
    assert all(np.array_equal(a, b) for a, b in zip(scan.samples, read.samples, strict=True))
    assert read.header.field_strength_t == pytest.approx(3.0)
    assert "1 waveform" in read.notes[0]


def test_a_stream_without_its_close_message_is_named_incomplete(tmp_path):
    path = tmp_path / "stream"
    content = b"".join(stream_of(raw_scan()))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(IncompleteRawData, match=r"inside a message after \d+ readouts"):
        read_stream(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x63\x00 what is this", "no known MRD message at byte 0"),
        (b"", "are empty"),
        (close_message(), "no header"),
        (text_message(Kind.HEADER, "<ismrmrdHeader/>") + close_message(), "no readouts"),
        (text_message(Kind.HEADER, "x")[:2] + b"\xff\xff\xff\xff", "claims 4294967295 bytes"),
    ],
)
def test_bytes_that_are_no_stream_are_refused_by_name(tmp_path, content, sentence):
    path = tmp_path / "stream"
    path.write_bytes(content)
    with pytest.raises(MalformedRawData, match=sentence):
        read_stream(path)
