"""The listener for MRD streams: one thread per client, so many clients at once, none from a stranger."""

import socket
import threading
from contextlib import closing

import structlog

from node.errors import InvalidSettings
from node.kspace_intake import admit_forgotten
from node.log import place_of
from node.mrd.session import Session
from node.services import Services

log = structlog.get_logger()

_ACCEPT_EVERY_S = 0.5
_BACKLOG = 16
_RECEIVE_BUFFER_BYTES = 8 << 20


class MrdListener:
    """Receives MRD streams in threads of this process."""

    def __init__(self, services: Services) -> None:
        self._services, self._settings = services, services.settings.kspace
        self._stop = threading.Event()
        self._free_places = threading.BoundedSemaphore(self._settings.max_connections)
        self._threads: list[threading.Thread] = []
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port that is bound."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def start(self) -> int:
        """Record what an earlier process left behind, begin to listen, and return the port.

        Raises
        ------
        InvalidSettings
            Host and port cannot be bound.
        """
        n_forgotten = admit_forgotten(self._services)
        if n_forgotten:
            log.warning("kspace.recovered", n_objects=n_forgotten)
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # Set before listening: connections inherit the buffer, and a window is agreed on at their start.
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            self._socket.bind((host, port))
            self._socket.listen(_BACKLOG)
            self._socket.settimeout(_ACCEPT_EVERY_S)
        except OSError as error:
            raise InvalidSettings(
                f"{host}:{port} cannot be listened on for MRD ({error.strerror}); choose another port or host in "
                "[kspace], or stop what runs there."
            ) from error
        self._start_thread(self._accept, "mrd-listener")
        log.info("kspace_listener.started", host=host, port=self.port)
        return self.port

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new client, and let what has come of the open streams be recorded for `grace_s` [s]."""
        self._stop.set()
        for thread in self._threads:
            thread.join(grace_s)
        if self._socket is not None:
            self._socket.close()
            log.info("kspace_listener.stopped")

    def _start_thread(self, target: object, name: str, *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._stop.is_set():
            try:
                connection, address = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                log.error("kspace_listener.failed", where=place_of(error), error_class=type(error).__name__)
                self._stop.wait(_ACCEPT_EVERY_S)
                continue
            host = str(address[0])
            if not self._settings.allows(host):
                log.warning("kspace_client.refused", host=host, reason="its address is not in [kspace] allow")
                connection.close()
            elif not self._free_places.acquire(blocking=False):
                log.warning("kspace_client.refused", host=host, reason="[kspace] max_connections are open")
                connection.close()
            else:
                self._start_thread(self._serve, f"mrd-{host}", connection, host)

    def _serve(self, connection: socket.socket, host: str) -> None:
        try:
            with closing(connection):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                Session(self._services, connection, host, self._stop).run()
        finally:
            self._free_places.release()
