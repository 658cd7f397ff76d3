"""Telling systemd that the daemon is ready, or stopping (Type=notify): one datagram to the socket that it names.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket

__all__ = ["notify"]


def notify(state: str) -> None:
    """Send `state`, such as READY=1, to NOTIFY_SOCKET; without systemd, or where it does not listen, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return
    # A name that begins with @ is in Linux's abstract namespace, where the first byte is zero.
    target = "\0" + address[1:] if address[0] == "@" else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.setblocking(False)
        try:
            sending.sendto(state.encode(), target)
        except OSError:
            return
