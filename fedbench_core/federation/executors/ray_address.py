"""Whether a Ray cluster answers at an address: Ray itself would try for minutes."""

import socket
from contextlib import suppress

from fedbench_core.api import RequestError

ANSWER_SECONDS = 5.0
"""How long an address may take to answer."""
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a talk with a gRPC server begins, as Ray's are; it answers with a frame of settings, whose fourth byte is 4."""


def answering(asked: str) -> str:
    """HOST:PORT of the cluster that is asked for, by that or as "auto"; RequestError unless it answers."""
    address = _nearest() if asked == "auto" else asked
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise RequestError(f"--ray-address {asked}: expected HOST:PORT as `ray start --head` names it, or auto.")
    answer = b""
    with suppress(OSError, UnicodeError), socket.create_connection((host, int(port)), ANSWER_SECONDS) as connection:
        connection.sendall(_HTTP2)
        answer = connection.recv(4)
    if answer[3:] != b"\x04":
        where = "there" if address == asked else f"at {address}"
        raise RequestError(
            f"--ray-address {asked}: no Ray cluster answers {where}. Start one with `ray start --head`, "
            "or leave the address out to have one on this machine for the run."
        )
    return address


def _nearest() -> str:
    """The address that Ray itself would take: of RAY_ADDRESS, or of what was started on this machine last."""
    from ray._private.services import canonicalize_bootstrap_address  # noqa: PLC0415  # nothing public tells it

    try:
        address: str | None = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        address = None
    if address is None:
        raise RequestError(
            "--ray-address auto: no Ray cluster was started on this machine. Start one with `ray start --head`, "
            "or leave the address out to have one for the run."
        )
    return address
