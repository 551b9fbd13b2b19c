"""Probes report the flaw of each faulty deployment, and nothing for a correct one."""

import ast
import datetime as dt
import inspect
import os
import re
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oneself_conformance.levels import Level
from oneself_conformance.probes import assertions, table
from oneself_conformance.probes.runner import run_probe, run_probes
from oneself_conformance.probes.table import load_probes
from oneself_conformance.probes.wire import Address, Connection, parse_answers
from tests.support.small_deployment import SECRET, running_deployment

PROBES = {probe.id: probe for probe in load_probes()}


def _outcomes(target, sent=None):
    return {outcome.probe.id: outcome for outcome in run_probes(sent or load_probes(), target)}


def _broken(outcomes):
    return {name: outcome.broken for name, outcome in outcomes.items() if outcome.broken}


def _skipped(outcomes):
    return {name for name, outcome in outcomes.items() if outcome.skipped}


@pytest.fixture(scope="session")
def small():
    """A deployment without a flaw."""
    with running_deployment() as target:
        yield target


@pytest.fixture(scope="session")
def outcomes_of_small(small):
    """The outcome of each probe sent to it."""
    return _outcomes(small)


# ── A correct deployment ─────────────────────────────────────────────────────────────────────────


def test_correct_deployment_passes_every_probe(outcomes_of_small):
    """The small deployment is path from the probes alone."""
    assert _broken(outcomes_of_small) == {}
    assert _skipped(outcomes_of_small) == {"plain http on a tls port", "silent without tls"}
    assert len(outcomes_of_small) == len(PROBES)


def _certificate(folder):
    """Write a self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="session")
def small_with_tls(tmp_path_factory):
    """A deployment without a flaw, over TLS."""
    certificate = _certificate(tmp_path_factory.mktemp("tls"))
    keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    # Slow handshakes are disconnected too, and the many handshakes here delay each other.
    with running_deployment(keys=keys, trust=trust, deadline=2) as target:
        yield target


@pytest.fixture(scope="session")
def outcomes_of_small_with_tls(small_with_tls):
    """The outcome of each probe except the slow ones, for which TLS makes no difference."""
    quick = [probe for probe in PROBES.values() if not probe.is_slow or probe.only]
    return _outcomes(small_with_tls, quick)


def test_correct_deployment_passes_every_probe_over_tls(outcomes_of_small_with_tls):
    """Probes of plain ports are skipped; those of TLS ports run."""
    assert _broken(outcomes_of_small_with_tls) == {}
    assert _skipped(outcomes_of_small_with_tls) == {"tls without tls"}


def test_untrusted_certificate_receives_no_request(small_with_tls):
    """Otherwise the credential would be sent to an impostor."""
    default_trust = ssl.create_default_context()
    address = replace(small_with_tls.address, trust=default_trust)
    outcome = run_probe(PROBES["plain"], replace(small_with_tls, address=address))
    assert [each[:32] for each in outcome.broken] == [
        "No connection could be opened: [",
        "Afterwards, another client could",
    ]
    assert outcome.exchange.received == ""


# ── Faulty deployments ───────────────────────────────────────────────────────────────────────────

DEEP = "json of 10,000 levels: arrays"
ONLY_4XX = "and only 4xx is allowed."

#: For each flaw of a deployment: a probe, and all violations that it reports.
FLAWS = {
    "fails at a NUL": ("target: one with a NUL in it", "The response is 500, a server error."),
    "lets in by another case": ("path: Other case", f"The response is 200, {ONLY_4XX}"),
    "redirects what ends in a slash": ("path: A different end", f"The response is 308, {ONLY_4XX}"),
    "takes any body": ("json: Each name twice", f"The response is 201, {ONLY_4XX}"),
    "takes any host": ("host: an unknown Host", f"The response is 200, {ONLY_4XX}"),
    "remembers who asked before": (
        "pipelined",
        "The response is 200, and only 401 or 403 is allowed.",
        "The response is 200, and only 401 or 403 is allowed.",
    ),
    "believes the length, not the chunks": (
        "coding: chunks and a length",
        "2 responses came to 1 request.",
    ),
    "knows no trailers": ("trailer", "2 responses came to 1 request."),
    "does not wait for bodies": (
        "late body unread: an unauthenticated POST",
        "2 responses came to 1 request.",
    ),
    "ignores Connection": ("after a close", "2 responses came to 1 request."),
    "answers in HTTP/0.9": (
        "no http: HTTP/0.9",
        "The response is not HTTP/1.1: it does not begin with HTTP.",
    ),
    "always breaks off": ("host: no Host", "The response is not HTTP/1.1: it breaks off."),
    "HEAD has a body": ("HEAD", "The response is not HTTP/1.1: it does not begin with HTTP."),
    "names the path that is not there": (
        "body unread: a POST to an unknown path",
        "The response repeats the request.",
    ),
    "sends a TRACE back": (
        "TRACE",
        "The response repeats the request.",
        "The response repeats the credential.",
    ),
    "never answers what is folded": (
        "head: a folded line",
        "The request was neither answered nor the connection closed in time.",
    ),
    "waits for ever": (
        "silent: in a head",
        "The request was neither answered nor the connection closed in time.",
    ),
    "counts the time from each line anew": (
        "slow lines",
        "The request was neither answered nor the connection closed in time.",
    ),
    "never closes": ("http/1.0", "The connection was not closed after the response."),
    "closes instead of a 400": (
        "json: A trailing comma",
        "The connection was closed without a response.",
    ),
    "upgrades": ("upgrade: HTTP/2", "The connection was switched to another protocol (101)."),
    "says no Allow": ("method: PROPFIND", "A 405 has no Allow (RFC 9110, section 15.5.6)."),
    "allows no methods": ("method: PROPFIND", "Allow is not a list of methods."),
    "allows what it refuses": (
        "method: PROPFIND",
        "Allow lists the rejected method.",
        "Allow lists GET, HEAD, PROPFIND, but the document GET.",
    ),
    "allows what there is not": (
        "method: PROPFIND",
        "Allow lists DELETE, GET, HEAD, but the document GET.",
    ),
    "serves one after the other": (
        "two hundred slow",
        "Meanwhile, another client got no response within 3 s.",
        "The request was neither answered nor the connection closed in time.",
    ),
    "is sick after a deep body": (DEEP, "Afterwards, another client got a 503."),
    "is sick when somebody breaks off": (
        "reset: in a body",
        "Afterwards, another client got a 503.",
    ),
    "stops after a deep body": (
        DEEP,
        "Afterwards, another client could not connect: [Errno 111] Connection refused.",
    ),
}


def _run_flaw(flaw):
    with running_deployment(flaw) as target:
        return run_probe(PROBES[FLAWS[flaw][0]], target)


@pytest.fixture(scope="session")
def outcomes_of_flaws():
    """The outcome of the probe for each flaw, in parallel because they mostly wait."""
    with ThreadPoolExecutor(len(FLAWS)) as threads:
        return dict(zip(FLAWS, threads.map(_run_flaw, FLAWS), strict=True))


@pytest.mark.parametrize("flaw", FLAWS)
def test_flaw_is_reported_exactly(outcomes_of_flaws, flaw):
    """Each check is needed to find a flaw, so that none can stop working unnoticed."""
    _, *violations = FLAWS[flaw]
    assert outcomes_of_flaws[flaw].broken == tuple(violations)


def test_violation_has_the_level_of_what_demands_it(outcomes_of_flaws):
    """contract F3: an RFC by its section, and a rule of this project as such."""

    def cited(flaw):
        return [(each.level, each.source) for each in outcomes_of_flaws[flaw].broken]

    assert cited("believes the length, not the chunks") == [
        (Level.STANDARD, "RFC 9112, section 6.1")
    ]
    assert cited("answers in HTTP/0.9") == [(Level.STANDARD, "RFC 9112, section 2.1")]
    allow, documented = cited("allows what it refuses")
    assert allow == (Level.STANDARD, "RFC 9110, section 15.5.6")
    assert documented[0] is Level.HOUSE
    assert {level for level, _ in cited("sends a TRACE back")} == {Level.HOUSE}
    assert {level for level, _ in cited("takes any host")} == {Level.HOUSE}


def test_echo_of_a_credential_is_looked_for_in_refusals_alone(small):
    """The page of Hyperclast returns the token, and a pipelined refusal may follow."""
    shown = f"HTTP/1.1 200 OK\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}".encode()
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    read = parse_answers(shown + refusal, is_closed=True)
    result = assertions.ConnectionResult((), shown + refusal, read)
    broken = [*assertions.find_violations(PROBES["pipelined"], result, small)]
    assert "The response repeats the credential." not in broken


def test_sections_of_rfcs_are_cited_exactly():
    """Only a section of an RFC can demand the outcome of every server."""
    sections = {probe.standard for probe in PROBES.values() if probe.level is Level.STANDARD}
    assert len(sections) > 10
    assert all(
        re.fullmatch(r"RFC \d{4}, sections? [\d.]+( and [\d.]+)?", each) for each in sections
    )


def test_every_violation_message_has_a_flaw():
    """A message of `assertions` that FLAWS does not contain is an untested check."""
    tested = {sentence for _, *sentences in FLAWS.values() for sentence in sentences}
    untested = [
        pattern
        for node in ast.walk(ast.parse(inspect.getsource(assertions)))
        if isinstance(node, ast.Yield)
        and not any(re.fullmatch(pattern := _pattern(node.value), each) for each in tested)
    ]
    assert untested == []


def _pattern(node):
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in parts)


def _passed(outcomes):
    """Return the names of the probes that ran and passed."""
    return {name for name, each in outcomes.items() if not each.broken and not each.skipped}


def test_every_listening_probe_reports_server_errors():
    """Only probes that disconnect cannot see a 500."""
    with running_deployment("always fails") as target:
        passed = _passed(_outcomes(target))
    assert {name.partition(":")[0] for name in passed} == {"disconnected", "reset"}


def test_few_probes_accept_a_deployment_that_accepts_everything():
    """Those whose requests may succeed, and only check for harm."""
    with running_deployment("always agrees") as target:
        passed = {name.partition(":")[0] for name in _passed(_outcomes(target))}
    assert passed == {
        "absolute target with credential", "body longer than stated", "body of a GET", "condition",
        "disconnected", "forwarded host", "http/1.0", "many headers", "negotiation",
        "OPTIONS of the server", "path with credential", "pipelined", "plain", "preflight", "range",
        "repeated length", "reset", "upgrade with credential",
    }  # fmt: skip


@pytest.mark.parametrize("flaw", ["always babbles", "always answers sixty times"])
def test_every_listening_probe_reports_malformed_and_surplus_responses(flaw):
    with running_deployment(flaw) as target:
        passed = _passed(_outcomes(target))
    assert {name.partition(":")[0] for name in passed} == {"disconnected", "reset"}


def test_interim_response_does_not_count_as_surplus(outcomes_of_small):
    """A request that expects it gets 100 (Continue), then one final response."""
    outcome = outcomes_of_small["expect: 100-continue with the body already there"]
    assert outcome.broken == ()
    assert outcome.exchange.received.count("HTTP/1.1 ") == 2


@pytest.fixture
def closed_target(small):
    """A target on a reserved port without a listener."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield replace(small, address=Address("http", *reserved.getsockname()))


def test_refused_connection_fails_the_probe(closed_target):
    outcome = run_probe(PROBES["plain"], closed_target)
    assert outcome.blocked_others
    assert [each.partition(":")[0] for each in outcome.broken] == [
        "No connection could be opened",
        "Afterwards, another client could not connect",
    ]


def test_remaining_probes_are_skipped_when_deployment_stops_responding(closed_target):
    """A run ends soon, and reports each probe that it did not send."""
    quick = [probe for probe in PROBES.values() if not probe.is_slow and not probe.only]
    outcomes = _outcomes(closed_target, quick)
    skipped = {
        each.skipped == "The deployment has stopped responding."
        for each in outcomes.values()
        if not each.blocked_others
    }
    assert skipped == {True}
    # Each thread of a run sends one probe at most.
    assert 1 <= sum(each.blocked_others for each in outcomes.values()) <= 16


# ── Incomplete targets ───────────────────────────────────────────────────────────────────────────


def test_probe_is_skipped_with_a_reason_when_target_lacks_a_word(small):
    incomplete = replace(small, credential=None, health=small.health, example={"count": 1})
    for name, missing in (
        ("plain", "credential"),
        ("json: A lone surrogate", "text_name"),
        ("trailer", "credential"),
    ):
        outcome = run_probe(PROBES[name], incomplete)
        assert outcome.skipped == f"The target has no {missing}."
        assert (outcome.broken, outcome.exchange) == ((), None)


def test_other_client_uses_read_path_when_target_has_no_health_path(small):
    """A deployment of a single dialect may have no health check."""
    private = replace(small, health=None)
    assert run_probe(PROBES["anonymous"], private).broken == ()
    assert run_probe(PROBES["public path: A dot-dot segment"], private).skipped
    invalid = replace(private, credential="Authorization: Bearer wrong")
    assert run_probe(PROBES["anonymous"], invalid).broken == (
        "Afterwards, another client got a 401.",
    )


# ── Reported text ────────────────────────────────────────────────────────────────────────────────


def test_exchange_contains_no_secret(outcomes_of_small, outcomes_of_flaws):
    """Neither the request nor the response nor the shell command does."""
    outcomes = [outcomes_of_small["plain"], outcomes_of_flaws["sends a TRACE back"]]
    for outcome in outcomes:
        shown = outcome.exchange
        assert "Authorization: Bearer ***" in shown.sent
        assert SECRET not in shown.sent + shown.received + shown.shell
    assert "Authorization: Bearer ***" in outcomes[1].exchange.received


def test_sent_bytes_are_readable(outcomes_of_small):
    """Line breaks are kept; all other bytes beyond plain text are escaped."""
    shown = outcomes_of_small["path: A raw byte beyond ASCII"].exchange.sent
    assert shown.startswith("GET /api/me\\xff HTTP/1.1\nHost: ")
    shown = outcomes_of_small["bare line feeds"].exchange.sent
    assert shown.startswith("GET /api/me HTTP/1.1\\nHost: ")
    shown = outcomes_of_small["head: a NUL in a value"].exchange.sent
    assert "\nX-A: a\\x00b\n" in shown
    shown = outcomes_of_small["head: a header of 10 MB"].exchange.sent
    assert len(shown) < 2100
    assert shown.endswith("aaa…")
    shown = outcomes_of_small["disconnected: in a body"].exchange.sent
    assert shown.endswith("{\n(then the connection is closed)\n(likewise over 20 connections)")


#: A replacement for nc that saves its input.
FAKE_NC = "#!/bin/sh\ncat > {received}\n"


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "two credentials: the valid one twice",
        "path: Half an escape",
        "path: A backslash",
        "target: one with a NUL in it",
        "json: UTF-16 with a byte order mark",
        "method: of signs",
        "json of 10,000 levels: objects",
        "fifty pipelined",
        "http/2",
        "body shorter than stated: complete JSON",
    ],
)
def test_shell_command_sends_the_same_bytes(small, outcomes_of_small, tmp_path, name):
    """The command reads the credential from a variable, so that no secret is printed."""
    nc, received = tmp_path / "nc", tmp_path / "received"
    nc.write_text(FAKE_NC.format(received=received))
    nc.chmod(0o755)
    exchange = outcomes_of_small[name].exchange
    assert exchange.shell.endswith(f" localhost {small.address.port}")
    line = re.sub("sleep [0-9.]+", "true", exchange.shell)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CREDENTIAL": small.credential}
    subprocess.run(["/bin/sh", "-c", line], env=environment, check=True)
    [opening] = PROBES[name].openings(small)
    assert received.read_bytes() == b"".join(segment.whole for segment in opening)


def test_shell_command_uses_openssl_for_tls_or_is_absent(
    small_with_tls, outcomes_of_small_with_tls
):
    """No command is better than one that does something else."""
    port = small_with_tls.address.port
    shell = outcomes_of_small_with_tls["plain"].exchange.shell
    assert shell.endswith(
        f"| openssl s_client -quiet -servername localhost -connect localhost:{port}"
    )
    for name in ("disconnected: in a head", "reset: in a head", "half closed: at once"):
        assert outcomes_of_small_with_tls[name].exchange.shell is None


# ── The file ─────────────────────────────────────────────────────────────────────────────────────


def test_every_probe_has_a_title_and_a_source():
    """The title is one sentence; the source is a rule, a standard or the document."""
    for probe in PROBES.values():
        assert re.fullmatch(r"[A-Z0-9].*[^.]", probe.promise), probe.id
        assert "${" not in probe.promise, probe.id
        assert re.search(r"\b(HT-\d\d|RFC \d+|The document|CVE-)", probe.source), probe.id


def test_probes_cover_every_http_rule_that_a_socket_can_test():
    """HT rules of docs/security.md."""
    covered = {rule for probe in PROBES.values() for rule in re.findall("HT-[0-9]+", probe.source)}
    assert covered >= {f"HT-{number:02}" for number in (4, 5, 7, 8, 9, 10, 12, 13)}


def test_content_length_equals_the_body_unless_the_probe_tests_it(small):
    """Otherwise the request would be rejected for another reason."""
    for name in ("json: A lone surrogate", "content type: plain text", "body of a GET"):
        [opening] = PROBES[name].openings(small)
        head, _, body = b"".join(each.whole for each in opening).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"sends": ""}, "'sends'"),
        ({"for_each": {"a": ""}, "standard": {"RFC 9112, section 3": ["b"]}}, "unknown lines"),
        ({"then": "dance"}, "unknown `then`: dance"),
        ({"send": "${unknown}"}, "unknown"),
    ],
)
def test_misspelt_probe_is_rejected(monkeypatch, small, entry, message):
    """An ignored key would be a missing check."""
    raw = {"id": "x", "promise": "x", "source": "x", "send": "", "expect": {}, **entry}
    monkeypatch.setattr(table, "_raw", lambda: {"words": {}, "probes": [raw]})
    with pytest.raises((ValueError, LookupError), match=message):
        [probe.openings(small) for probe in load_probes.__wrapped__()]


def test_duplicate_probe_id_is_rejected(monkeypatch):
    raw = {"id": "x", "promise": "x", "source": "x", "send": "", "expect": {}}
    monkeypatch.setattr(table, "_raw", lambda: {"words": {}, "probes": [raw, raw]})
    with pytest.raises(ValueError, match="same id"):
        load_probes.__wrapped__()


def test_small_deployment_is_reachable(small):
    """The tests above depend on it."""
    with Connection(small.address, seconds=1) as connection:
        assert connection.send(b"x", seconds=1)
