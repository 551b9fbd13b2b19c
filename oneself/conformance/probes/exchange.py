"""A probe for a reader to see, and for a shell to repeat."""

import re
import shlex
from dataclasses import dataclass

from oneself.conformance.probes.table import Probe, Segment
from oneself.conformance.probes.target import ProbeTarget
from oneself.conformance.probes.wire import Address

__all__ = ["DRIBBLE_SECONDS", "GO_ON_SECONDS", "Exchange", "exchange_of"]

#: How long a probe that dribbles waits between two pieces, and one that goes on for an answer.
DRIBBLE_SECONDS = 0.5
GO_ON_SECONDS = 1.0

_MOST_SHOWN = 2000
_MOST_WRITTEN = 8000
_MASK = "***"
_THEN = {
    "half_close": "and then nothing more, which the other side is told",
    "leave": "and then hung up",
    "reset": "and then broke off",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was sent and what came, as text without secrets, and a shell line that repeats it.

    An end of line is one; every other byte beyond plain text is an escape. `shell` is None where
    no shell can do it; it takes the credential from the variable CREDENTIAL.
    """

    sent: str
    received: str
    shell: str | None


def exchange_of(
    probe: Probe, opening: tuple[Segment, ...], received: bytes, target: ProbeTarget
) -> Exchange:
    """Write down one connection of a probe."""
    later = probe.afterwards(target)
    sent = _shown(b"".join(_start(segment) for segment in opening), target)
    follows = [sent]
    if probe.then == "dribble":
        each = _shown(b"".join(segment.data for segment in later), target)
        follows.append(f"(and then, every {DRIBBLE_SECONDS} s)\n{each}")
    elif probe.then == "go_on":
        follows.append(f"(and after an answer, or {GO_ON_SECONDS:g} s)")
        follows.append(_shown(b"".join(_start(segment) for segment in later), target))
    elif probe.then in _THEN:
        follows.append(f"({_THEN[probe.then]})")
    if probe.connections > 1:
        follows.append(f"(this and the like over {probe.connections} connections)")
    return Exchange(
        "\n".join(follows), _shown(received, target), _shell(probe, opening, later, target)
    )


def _start(segment: Segment) -> bytes:
    """As much of a segment as can be shown of it."""
    return segment.data * min(segment.times, _MOST_SHOWN // max(1, len(segment.data)) + 1)


def _shown(data: bytes, target: ProbeTarget) -> str:
    # The secret first, so that no part of one that is cut is left.
    if target.secret:
        data = data.replace(target.secret.encode(), _MASK.encode())
    cut = data[:_MOST_SHOWN]
    text = cut.decode("ascii", "backslashreplace").replace("\r\n", "\n\0")
    plain = "".join(
        f"\\x{ord(each):02x}" if not each.isprintable() and each not in "\n\0" else each
        for each in re.sub("\n(?!\0)", "\\\\n", text)
    )
    plain = plain.replace("\n\0", "\n").replace("\0", "\\x00")
    return plain if len(data) <= _MOST_SHOWN else f"{plain}…"


def _shell(
    probe: Probe, opening: tuple[Segment, ...], later: tuple[Segment, ...], target: ProbeTarget
) -> str | None:
    tls = target.address.scheme == "https" and not probe.plain
    cannot = (
        probe.connections > 1
        or probe.then in {"leave", "reset"}
        or (probe.then == "half_close" and tls)  # openssl has no such end
        or any(len(segment.data) > _MOST_WRITTEN for segment in (*opening, *later))
    )
    if cannot:
        return None
    words = [_print(segment, target) for segment in opening if segment.data]
    if probe.then == "dribble":
        each = "; ".join(_print(Segment(segment.data), target) for segment in later)
        times = max(segment.times for segment in later)
        words.append(f"for each in $(seq {times}); do {each}; sleep {DRIBBLE_SECONDS}; done")
    elif probe.then == "go_on":
        words.append(f"sleep {GO_ON_SECONDS:g}")
        words += [_print(segment, target) for segment in later]
    if probe.then == "half_close":
        words.append("true")
    else:
        # Else a shell that has nothing more to say would not listen either.
        words.append(f"sleep {target.deadline_seconds if probe.is_slow else 2:g}")
    feed = "{ " + "; ".join(words) + "; }"
    return f"{feed} | {_carrier(target.address, tls=tls, ends=probe.then == 'half_close')}"


def _carrier(address: Address, *, tls: bool, ends: bool) -> str:
    if tls:
        host = f"[{address.host}]" if ":" in address.host else address.host
        words = ["openssl", "s_client", "-quiet", "-servername", address.host]
        return shlex.join([*words, "-connect", f"{host}:{address.port}"])
    return shlex.join(["nc", *(["-N"] if ends else []), address.host, str(address.port)])


def _print(segment: Segment, target: ProbeTarget) -> str:
    """A `printf` of POSIX that writes the bytes, the credential from a variable."""
    line = target.credential.encode() if target.credential else None
    parts = segment.data.split(line) if line else [segment.data]
    words = ["printf", shlex.quote("%s".join(_octal(part) for part in parts))]
    words += ['"$CREDENTIAL"'] * (len(parts) - 1)
    if segment.times == 1:
        return " ".join(words)
    if len(parts) == 1:
        # The format is written once for each word, of which none of it is shown.
        repeated = shlex.quote("%s".join(_octal(part) for part in parts) + "%.0s")
        return f"printf {repeated} $(seq {segment.times})"
    return f"for each in $(seq {segment.times}); do {' '.join(words)}; done"


def _octal(data: bytes) -> str:
    named = {0x0D: "\\r", 0x0A: "\\n", 0x25: "%%", 0x5C: "\\\\"}
    return "".join(
        named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")  # noqa: PLR2004 # plain ASCII
        for byte in data
    )
