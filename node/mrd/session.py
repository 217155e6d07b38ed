"""One client's MRD stream: spooled as it comes, complete exactly at its close message, recorded in any case."""

import json
import select
import socket
import threading
from dataclasses import dataclass

import structlog

import db.errors
from dicom_io.errors import MalformedRawData
from dicom_io.kspace.mrd_messages import Kind, Message, MessageWalker, close_message, text_message
from dicom_io.kspace.raw_data import PayloadFormat
from node.errors import DiskFull, NodeError
from node.kspace_intake import Admission, admit
from node.kspace_store import ArrivingPayload
from node.log import place_of
from node.mrd.answer import Answer, wait_for_images
from node.services import Services

log = structlog.get_logger()

BUFFER_BYTES = 4 << 20
SEND_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.5
# The words by which clients of the FIRE interface show a sentence's weight.
INFORMATION, WARNING, ERROR = "INFO    ", "WARNING ", "ERROR   "
ASKS_BY_NAME = "lodestone_images"
RETURN_KEY = "return_images"


@dataclass
class _Wishes:
    """What the client's configuration asks for."""

    images: bool = False

    def read(self, message: Message) -> None:
        """Take what a configuration says; what it says to other programs is not ours to judge."""
        text = message.text.decode("utf-8", "replace").strip("\0 \r\n\t")
        if message.kind is Kind.CONFIG_FILE:
            self.images |= text == ASKS_BY_NAME
            return
        try:
            document = json.loads(text)
        except ValueError:
            return
        # OpenRecon puts a site's parameters into a table of their own.
        for table in (document, document.get("parameters") if isinstance(document, dict) else None):
            if isinstance(table, dict) and str(table.get(RETURN_KEY, "")).lower() in ("true", "1", "yes"):
                self.images = True


class Session:
    """Serves one connection in the calling thread."""

    def __init__(self, services: Services, connection: socket.socket, address: str, stop: threading.Event) -> None:
        self._services, self._connection, self._stop = services, connection, stop
        self._calling = f"MRD {address}"
        self._walker, self._wishes = MessageWalker(), _Wishes()
        self._n_bytes = 0
        self._problem = ""
        self._is_closed = False

    def run(self) -> Admission | None:
        """Receive until the stream is closed, cut or damaged; record what came and answer. None where nothing came."""
        try:
            admission = self._receive()
        except (OSError, NodeError, db.errors.RecordError) as error:
            log.error(
                "kspace.refused", calling_ae=self._calling, error_class=type(error).__name__, where=place_of(error)
            )
            self._say(ERROR, f"The scan could not be kept ({type(error).__name__}); send it again.")
            self._send(close_message())
            return None
        if admission is None:
            return None
        if admission.problem:
            self._say(ERROR, admission.problem)
        elif self._is_closed:
            self._say(INFORMATION, f"Lodestone keeps the scan as series {admission.series_key}.")
            self._answer(admission)
        self._send(close_message())
        return admission

    def _receive(self) -> Admission | None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        with self._services.kspace.receive(PayloadFormat.MRD_STREAM) as arriving:
            while not self._is_closed and not self._problem and (n_bytes := self._next_bytes(buffer)):
                self._write(arriving, self._walked(buffer[:n_bytes]))
            if arriving.n_bytes == 0:
                return None
            kept = arriving.finish()
        if not self._is_closed:
            log.warning("kspace.cut", calling_ae=self._calling, bytes=kept.n_bytes, reason=self._problem or "no close")
        return admit(self._services, kept, self._calling)

    def _write(self, arriving: ArrivingPayload, piece: memoryview) -> None:
        try:
            arriving.write(piece)
        except DiskFull as error:
            # What came so far is kept, as that of a client which went away would be.
            self._problem = str(error)

    def _next_bytes(self, buffer: memoryview) -> int:
        """Receive what there is; 0 where the client has gone, is silent for too long, or the node stops."""
        limit_s = self._services.settings.kspace.idle_timeout_s
        waited_s = 0.0
        while not self._stop.is_set() and waited_s < limit_s:
            ready, _, _ = select.select([self._connection], [], [], LOOK_EVERY_S)
            if ready:
                try:
                    return self._connection.recv_into(buffer)
                except ConnectionError:
                    return 0
            waited_s += LOOK_EVERY_S
        return 0

    def _walked(self, piece: memoryview) -> memoryview:
        """Return the bytes that belong to the stream: nothing after its close message does."""
        before, self._n_bytes = self._n_bytes, self._n_bytes + len(piece)
        try:
            for message in self._walker.feed(piece):
                self._take(message)
                if self._is_closed:
                    return piece[: self._walker.offset - before]
        except MalformedRawData as error:
            self._problem = str(error)
        return piece

    def _take(self, message: Message) -> None:
        if message.kind in (Kind.CONFIG_FILE, Kind.CONFIG_TEXT):
            self._wishes.read(message)
        elif message.kind is Kind.CLOSE:
            self._is_closed = True

    def _answer(self, admission: Admission) -> None:
        """Send images back where they are wanted and the client still listens."""
        settings = self._services.settings.kspace
        is_wanted = settings.return_images == "always" or (self._wishes.images and settings.return_images != "never")
        if not is_wanted:
            return
        answer: Answer = wait_for_images(
            self._services, admission.series_key, settings.return_within_min * 60.0, self._is_listening
        )
        for message in answer.images:
            if not self._send(message):
                return
        if answer.sentence:
            self._say(WARNING, answer.sentence)

    def _is_listening(self) -> bool:
        """Wait a little, and say whether the node runs on and the client is still there."""
        if self._stop.wait(LOOK_EVERY_S):
            return False
        try:
            ready, _, _ = select.select([self._connection], [], [], 0)
            return not ready or bool(self._connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _say(self, weight: str, sentence: str) -> None:
        self._send(text_message(Kind.TEXT, f"{weight} {sentence}\0"))

    def _send(self, content: bytes) -> bool:
        """Send bytes and say whether they went: a client that does not listen has lost nothing but the answer."""
        try:
            self._connection.settimeout(SEND_TIMEOUT_S)
            self._connection.sendall(content)
        except OSError:
            return False
        return True
