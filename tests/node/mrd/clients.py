"""An MRD client of another make: the ismrmrd package writes and reads the messages."""

import socket

import ismrmrd

from dicom_io.kspace.mrd_messages import stream_of
from dicom_io.kspace.scan import RawScan


class Client:
    """Streams scans to a port and reads what comes back."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._stream = self.socket.makefile("rwb")

    def send(self, scan: RawScan, config: str = "lodestone", share: float = 1.0) -> None:
        """Send a scan, or the first part of its bytes."""
        content = b"".join(stream_of(scan, config))
        self.socket.sendall(content[: int(share * len(content))])

    def answers(self) -> list[object]:
        """Return every message until the node closes the conversation."""
        return list(ismrmrd.ProtocolDeserializer(self._stream).deserialize())

    def close(self) -> None:
        """Go away."""
        self._stream.close()
        self.socket.close()
