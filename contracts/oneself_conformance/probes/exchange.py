"""Text and shell command of a probe, for reports."""

import re
import shlex
from dataclasses import dataclass

from oneself_conformance.probes.table import Probe, Segment
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Address

#: The pause between two pieces of `dribble`, and the wait of `go_on` for a response.
DRIBBLE_SECONDS = 0.5
GO_ON_SECONDS = 1.0

_MAX_SHOWN = 2000
_MAX_SHELL_BYTES = 8000
_MASK = "***"
_ENDINGS = {
    "half_close": "then the sending side is closed",
    "leave": "then the connection is closed",
    "reset": "then the connection is reset",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """The bytes sent and received, as text without secrets, and a shell command that repeats them.

    Line breaks are kept; all other bytes beyond plain text are escaped. `shell` is None if no
    shell can repeat it; it reads the credential from the variable CREDENTIAL.
    """

    sent: str
    received: str
    shell: str | None


def exchange_of(
    probe: Probe, opening: tuple[Segment, ...], received: bytes, target: ProbeTarget
) -> Exchange:
    """Describe one connection of a probe."""
    follow_up = probe.follow_up(target)
    sent = _mask(b"".join(_start(segment) for segment in opening), target)
    lines = [sent]
    if probe.then == "dribble":
        each = _mask(b"".join(segment.data for segment in follow_up), target)
        lines.append(f"(then, every {DRIBBLE_SECONDS} s)\n{each}")
    elif probe.then == "go_on":
        lines.append(f"(then, after a response or {GO_ON_SECONDS:g} s)")
        lines.append(_mask(b"".join(_start(segment) for segment in follow_up), target))
    elif probe.then in _ENDINGS:
        lines.append(f"({_ENDINGS[probe.then]})")
    if probe.connections > 1:
        lines.append(f"(likewise over {probe.connections} connections)")
    shell = _shell(probe, opening, follow_up, target)
    return Exchange("\n".join(lines), _mask(received, target), shell)


def _start(segment: Segment) -> bytes:
    """Return as much of a segment as can be shown."""
    return segment.data * min(segment.times, _MAX_SHOWN // max(1, len(segment.data)) + 1)


def _mask(data: bytes, target: ProbeTarget) -> str:
    # Mask the secret before cutting, so that no part of it is left.
    if target.secret:
        data = data.replace(target.secret.encode(), _MASK.encode())
    cut = data[:_MAX_SHOWN]
    text = cut.decode("ascii", "backslashreplace").replace("\r\n", "\n\0")
    plain = "".join(
        f"\\x{ord(each):02x}" if not each.isprintable() and each not in "\n\0" else each
        for each in re.sub("\n(?!\0)", "\\\\n", text)
    )
    plain = plain.replace("\n\0", "\n").replace("\0", "\\x00")
    return plain if len(data) <= _MAX_SHOWN else f"{plain}…"


def _shell(
    probe: Probe, opening: tuple[Segment, ...], follow_up: tuple[Segment, ...], target: ProbeTarget
) -> str | None:
    tls = target.address.scheme == "https" and not probe.plain
    is_impossible = (
        probe.connections > 1
        or probe.then in {"leave", "reset"}
        or (probe.then == "half_close" and tls)  # openssl cannot half-close
        or any(len(segment.data) > _MAX_SHELL_BYTES for segment in (*opening, *follow_up))
    )
    if is_impossible:
        return None
    words = [_print(segment, target) for segment in opening if segment.data]
    if probe.then == "dribble":
        each = "; ".join(_print(Segment(segment.data), target) for segment in follow_up)
        times = max(segment.times for segment in follow_up)
        words.append(f"for each in $(seq {times}); do {each}; sleep {DRIBBLE_SECONDS}; done")
    elif probe.then == "go_on":
        words.append(f"sleep {GO_ON_SECONDS:g}")
        words += [_print(segment, target) for segment in follow_up]
    if probe.then == "half_close":
        words.append("true")
    else:
        # Keep the input open; otherwise the shell would stop listening.
        words.append(f"sleep {target.deadline_seconds if probe.is_slow else 2:g}")
    client = _client_command(target.address, tls=tls, ends=probe.then == "half_close")
    return f"{{ {'; '.join(words)}; }} | {client}"


def _client_command(address: Address, *, tls: bool, ends: bool) -> str:
    if tls:
        host = f"[{address.host}]" if ":" in address.host else address.host
        words = ["openssl", "s_client", "-quiet", "-servername", address.host]
        return shlex.join([*words, "-connect", f"{host}:{address.port}"])
    return shlex.join(["nc", *(["-N"] if ends else []), address.host, str(address.port)])


def _print(segment: Segment, target: ProbeTarget) -> str:
    """Return a POSIX `printf` that writes the bytes, with the credential from a variable."""
    line = target.credential.encode() if target.credential else None
    parts = segment.data.split(line) if line else [segment.data]
    words = ["printf", shlex.quote("%s".join(map(_octal, parts)))]
    words += ['"$CREDENTIAL"'] * (len(parts) - 1)
    if segment.times == 1:
        return " ".join(words)
    if len(parts) == 1:
        # `printf` repeats its format for each argument; `%.0s` prints none of it.
        return f"printf {shlex.quote(_octal(parts[0]) + '%.0s')} $(seq {segment.times})"
    return f"for each in $(seq {segment.times}); do {' '.join(words)}; done"


def _octal(data: bytes) -> str:
    named = {0x0D: "\\r", 0x0A: "\\n", 0x25: "%%", 0x5C: "\\\\"}
    return "".join(
        named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")  # noqa: PLR2004 # plain ASCII
        for byte in data
    )
