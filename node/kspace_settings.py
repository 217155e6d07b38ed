"""The part of node.toml about raw data: who may stream k-space to the node, and what becomes of it."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

LOOPBACK = ("127.0.0.1", "::1")


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address or network like 10.0.0.5 or 10.0.0.0/24") from error
    return text


class KspaceSection(BaseModel, extra="forbid", frozen=True):
    """The door for MRD (ISMRMRD) streams, and the folder in which raw data files are dropped.

    Nobody listens unless `listen` is set. `allow` names addresses and networks that may stream. Susceptibility is sent
    back over the same connection when the client asks for it, always, or never; it is waited for during
    `return_within_min` [min]. A client that is silent for `idle_timeout_s` [s] is gone. `noise` says whether scans of
    several coils must hold a noise measurement. `drop_folder` is relative to node.toml's folder, empty for none.
    """

    listen: bool = False
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=9002, ge=0, le=65535)
    allow: tuple[Annotated[str, AfterValidator(_network)], ...] = LOOPBACK
    max_connections: int = Field(default=4, ge=1, le=32)
    idle_timeout_s: float = Field(default=600.0, gt=0)
    return_images: Literal["when_asked", "always", "never"] = "when_asked"
    return_within_min: float = Field(default=60.0, gt=0)
    noise: Literal["required", "absent"] = "required"
    drop_folder: str = ""

    def allows(self, address: str) -> bool:
        """Say whether a client at this address may stream."""
        try:
            client = ipaddress.ip_address(address.removeprefix("::ffff:"))
        except ValueError:
            return False
        return any(client in ipaddress.ip_network(one, strict=False) for one in self.allow)
