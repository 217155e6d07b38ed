"""`lodestone serve`: run the node until it is stopped, and say where it listens."""

from pathlib import Path

from node.commands.console import err
from node.supervisor import Address, serve


def serve_site(config: Path) -> None:
    """Receive, map and deliver until SIGTERM or Ctrl-C."""
    serve(config, on_ready=_announce)


def _announce(address: Address) -> None:
    err.print(
        f"{address.ae_title} receives on {address.host}:{address.port}; Ctrl-C stops it.", style="bold", soft_wrap=True
    )
