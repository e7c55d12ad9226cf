"""Whether a Ray cluster answers at an address: Ray itself tries for minutes."""

import os
import socket
from contextlib import suppress

from fedbench_core.api import RequestError

ANSWER_SECONDS = 5.0
"""How long an address may take to answer."""
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The client's preface of gRPC; a server answers with a frame of settings, whose fourth byte is 4."""


def check_address(requested: str) -> None:
    """RequestError unless a cluster answers at HOST:PORT; at "auto" what RAY_ADDRESS says, or Ray finds."""
    address = os.environ.get("RAY_ADDRESS") if requested == "auto" else requested
    if address is None:
        _check_nearest()
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise RequestError(f"--ray-address {requested}: expected HOST:PORT as `ray start --head` names it, or auto.")
    if not _answers(host, int(port)):
        where = "there" if address == requested else f"at {address}"
        raise RequestError(
            f"--ray-address {requested}: no Ray cluster answers {where}. Start one with `ray start --head`, "
            "or leave the address out to start one on this machine for the run."
        )


def _answers(host: str, port: int) -> bool:
    answer = b""
    with suppress(OSError, UnicodeError), socket.create_connection((host, port), ANSWER_SECONDS) as connection:
        connection.sendall(_HTTP2)
        answer = connection.recv(4)
    return answer[3:] == b"\x04"


def _check_nearest() -> None:
    """Connect to the cluster that was started on this machine last, and leave it: only Ray knows its address."""
    import ray  # noqa: PLC0415  # Ray is imported on request only

    if ray.is_initialized():
        return
    try:
        ray.init("auto", log_to_driver=False, logging_level="CRITICAL")
    except ConnectionError:
        raise RequestError(
            "--ray-address auto: no Ray cluster was started on this machine. Start one with `ray start --head`, "
            "or leave the address out to start one for the run."
        ) from None
    ray.shutdown()
