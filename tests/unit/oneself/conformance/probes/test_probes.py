"""The probes catch each wrong deployment at its flaw, and have nothing to say of a right one."""

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

from oneself.conformance.probes import assertions, table
from oneself.conformance.probes.runner import run_probe, run_probes
from oneself.conformance.probes.table import load_probes
from oneself.conformance.probes.wire import Address, Connection
from tests.support.small_deployment import SECRET, deployed

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
    with deployed() as target:
        yield target


@pytest.fixture(scope="session")
def of_small(small):
    """What comes of each probe that is sent to it."""
    return _outcomes(small)


# ── A right deployment ───────────────────────────────────────────────────────────────────────────


def test_a_right_deployment_keeps_every_promise(of_small):
    """Ours is not the only one that can: this one is written from the promises alone."""
    assert _broken(of_small) == {}
    assert _skipped(of_small) == {"plain http where tls is spoken", "silent without tls"}
    assert len(of_small) == len(PROBES)


def _certificate(folder):
    """A certificate of this machine that nobody has signed but itself."""
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
    written = folder / "certificate.pem"
    written.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return written


@pytest.fixture(scope="session")
def small_with_tls(tmp_path_factory):
    """The same over TLS."""
    certificate = _certificate(tmp_path_factory.mktemp("tls"))
    keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate))
    # Who greets slowly is hung up on too, and the many greetings here keep each other waiting.
    with deployed(keys=keys, trust=trust, deadline=2) as target:
        yield target


@pytest.fixture(scope="session")
def of_small_with_tls(small_with_tls):
    """What comes of each probe but the slow ones, for which TLS makes no difference."""
    quick = [probe for probe in PROBES.values() if not probe.is_slow or probe.only]
    return _outcomes(small_with_tls, quick)


def test_a_right_deployment_keeps_every_promise_over_tls(of_small_with_tls):
    """All but those that are about a plain port, and with those about one that speaks TLS."""
    assert _broken(of_small_with_tls) == {}
    assert _skipped(of_small_with_tls) == {"tls without tls"}


def test_a_certificate_that_is_not_trusted_is_not_spoken_to(small_with_tls):
    """Else the credential would go to whoever answers."""
    trusting_others = ssl.create_default_context()
    address = replace(small_with_tls.address, trust=trusting_others)
    outcome = run_probe(PROBES["plain"], replace(small_with_tls, address=address))
    assert [each[:32] for each in outcome.broken] == [
        "No connection could be opened: [",
        "Afterwards, somebody else could ",
    ]
    assert outcome.exchange.received == ""


# ── Wrong deployments ────────────────────────────────────────────────────────────────────────────

DEEP = "json of 10,000 levels: arrays"
ONLY_4XX = "where only 4xx is allowed."

#: By what is wrong with a deployment: a probe, and all that is said of it.
FLAWS = {
    "fails at a NUL": (
        "target: one with a NUL in it",
        "It was answered with 500: the server's own failure.",
    ),
    "lets in by another case": ("path: Other case", f"It was answered with 200, {ONLY_4XX}"),
    "redirects what ends in a slash": (
        "path: Another end",
        f"It was answered with 308, {ONLY_4XX}",
    ),
    "takes any body": ("json: Each name twice", f"It was answered with 201, {ONLY_4XX}"),
    "takes any host": ("host: an unknown Host", f"It was answered with 200, {ONLY_4XX}"),
    "remembers who asked before": (
        "pipelined",
        "It was answered with 200, where only 401 or 403 is allowed.",
        "It was answered with 200, where only 401 or 403 is allowed.",
    ),
    "believes the length, not the chunks": (
        "coding: chunks and a length",
        "2 answers came to 1 request.",
    ),
    "knows no trailers": ("trailer", "2 answers came to 1 request."),
    "does not wait for bodies": (
        "late body unread: a POST that nobody may make",
        "2 answers came to 1 request.",
    ),
    "ignores Connection": ("after a close", "2 answers came to 1 request."),
    "answers in HTTP/0.9": (
        "no http: HTTP/0.9",
        "What came is no answer of HTTP/1.1: it does not begin as one.",
    ),
    "always breaks off": (
        "host: no Host",
        "What came is no answer of HTTP/1.1: it breaks off.",
    ),
    "HEAD has a body": (
        "HEAD",
        "What came is no answer of HTTP/1.1: it does not begin as one.",
    ),
    "names the path that is not there": (
        "body unread: a POST to nowhere",
        "The answer repeats what was sent.",
    ),
    "sends a TRACE back": (
        "TRACE",
        "The answer repeats what was sent.",
        "The answer repeats the credential.",
    ),
    "never answers what is folded": (
        "head: a folded line",
        "It was neither answered nor closed in time.",
    ),
    "waits for ever": (
        "silent: in a head",
        "It was neither answered nor closed in time.",
    ),
    "counts the time from each line anew": (
        "slow lines",
        "It was neither answered nor closed in time.",
    ),
    "never closes": ("http/1.0", "The connection was not closed after the answer."),
    "closes instead of a 400": (
        "json: A comma too many",
        "The connection was closed without an answer.",
    ),
    "upgrades": (
        "upgrade: HTTP/2",
        "The connection was switched to another protocol (101).",
    ),
    "says no Allow": (
        "method: PROPFIND",
        "A 405 came without Allow (RFC 9110, section 15.5.6).",
    ),
    "allows no methods": ("method: PROPFIND", "Allow is no list of methods."),
    "allows what it refuses": (
        "method: PROPFIND",
        "Allow lists the method that was refused.",
        "Allow lists GET, HEAD, PROPFIND, where the document has GET.",
    ),
    "allows what there is not": (
        "method: PROPFIND",
        "Allow lists DELETE, GET, HEAD, where the document has GET.",
    ),
    "serves one after the other": (
        "two hundred slow",
        "Meanwhile, somebody else got no answer within 3 s.",
        "It was neither answered nor closed in time.",
    ),
    "is sick after a deep body": (DEEP, "Afterwards, somebody else was answered with 503."),
    "is sick when somebody breaks off": (
        "broken off: in a body",
        "Afterwards, somebody else was answered with 503.",
    ),
    "stops after a deep body": (
        DEEP,
        "Afterwards, somebody else could not connect: [Errno 111] Connection refused.",
    ),
}


def _of_flaw(flaw):
    with deployed(flaw) as target:
        return run_probe(PROBES[FLAWS[flaw][0]], target)


@pytest.fixture(scope="session")
def of_flaws():
    """What comes of the probe that is to find each flaw: side by side, since they only wait."""
    with ThreadPoolExecutor(len(FLAWS)) as threads:
        return dict(zip(FLAWS, threads.map(_of_flaw, FLAWS), strict=True))


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_found_and_nothing_else_is_said(of_flaws, flaw):
    """Each check that a probe makes is needed to find one of them, so none can stop unnoticed."""
    _, *said = FLAWS[flaw]
    assert of_flaws[flaw].broken == tuple(said)


def test_there_is_a_flaw_for_each_thing_that_can_be_said():
    """What `judging` says, and nothing in FLAWS does, is a check that nobody checks."""
    said = {sentence for _, *sentences in FLAWS.values() for sentence in sentences}
    unsaid = [
        pattern
        for node in ast.walk(ast.parse(inspect.getsource(assertions)))
        if isinstance(node, ast.Yield)
        and not any(re.fullmatch(pattern := _pattern(node.value), each) for each in said)
    ]
    assert unsaid == []


def _pattern(node):
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in parts)


def _only_kept(outcomes):
    """What was tried and had nothing to say."""
    return {name for name, each in outcomes.items() if not each.broken and not each.skipped}


def test_no_probe_that_listens_is_content_with_a_failure():
    """Whatever is sent, a 500 is found; who hangs up does not hear it."""
    with deployed("always fails") as target:
        kept = _only_kept(_outcomes(target))
    assert {name.partition(":")[0] for name in kept} == {"gone", "broken off"}


def test_few_probes_are_content_with_who_agrees_to_everything():
    """Those that send what may be answered, and only to see that nothing breaks."""
    with deployed("always agrees") as target:
        kept = {name.partition(":")[0] for name in _only_kept(_outcomes(target))}
    assert kept == {
        "absolute target of the owner", "body of a GET", "broken off", "condition",
        "forwarded host", "gone", "http/1.0", "length said twice", "many headers",
        "more than was said", "negotiation", "OPTIONS of nothing", "path of the owner", "pipelined",
        "plain", "preflight", "range", "upgrade of the owner",
    }  # fmt: skip


@pytest.mark.parametrize("flaw", ["always babbles", "always answers sixty times"])
def test_no_probe_that_listens_is_content_with_what_is_no_answer_or_too_many(flaw):
    """Nor is any of those content with either."""
    with deployed(flaw) as target:
        kept = _only_kept(_outcomes(target))
    assert {name.partition(":")[0] for name in kept} == {"gone", "broken off"}


def test_what_comes_before_an_answer_is_no_answer(of_small):
    """100 (Continue) is sent to who expects it, and one answer after it."""
    outcome = of_small["expect: 100-continue with the body already there"]
    assert outcome.broken == ()
    assert outcome.exchange.received.count("HTTP/1.1 ") == 2


@pytest.fixture
def nobody(small):
    """A target where nobody listens, on a port that nobody else can get meanwhile."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield replace(small, address=Address("http", *kept.getsockname()))


def test_where_nobody_listens_it_is_said(nobody):
    """Nothing is promised by who cannot be reached."""
    outcome = run_probe(PROBES["plain"], nobody)
    assert outcome.others_waited
    assert [each.partition(":")[0] for each in outcome.broken] == [
        "No connection could be opened",
        "Afterwards, somebody else could not connect",
    ]


def test_the_rest_is_not_tried_when_nobody_is_answered_any_more(nobody):
    """A run ends soon, and says of each probe that was not sent that it was not."""
    quick = [probe for probe in PROBES.values() if not probe.is_slow and not probe.only]
    outcomes = _outcomes(nobody, quick)
    left_out = {
        each.skipped == "The deployment no longer answers anybody."
        for each in outcomes.values()
        if not each.others_waited
    }
    assert left_out == {True}
    # Each of the threads of a run tries one probe at most.
    assert 1 <= sum(each.others_waited for each in outcomes.values()) <= 16


# ── What a target has not ────────────────────────────────────────────────────────────────────────


def test_a_probe_is_skipped_and_says_why_when_a_target_has_no_words_for_it(small):
    """It is neither kept nor broken."""
    poor = replace(small, credential=None, health=small.health, example={"count": 1})
    for name, lacking in (
        ("plain", "credential"),
        ("json: A lone surrogate", "text_name"),
        ("trailer", "credential"),
    ):
        outcome = run_probe(PROBES[name], poor)
        assert outcome.skipped == f"The deployment was given no {lacking}."
        assert (outcome.broken, outcome.exchange) == ((), None)


def test_without_a_public_path_others_are_who_may_read(small):
    """For a deployment of one dialect alone, which need not have a path for its health."""
    private = replace(small, health=None)
    assert run_probe(PROBES["anonymous"], private).broken == ()
    assert run_probe(PROBES["public path: A way up"], private).skipped
    stranger = replace(private, credential="Authorization: Bearer wrong")
    assert run_probe(PROBES["anonymous"], stranger).broken == (
        "Afterwards, somebody else was answered with 401.",
    )


# ── What is shown ────────────────────────────────────────────────────────────────────────────────


def test_no_secret_is_shown(of_small, of_flaws):
    """Neither in what was sent, nor in what came, nor in the line for a shell."""
    outcomes = [of_small["plain"], of_flaws["sends a TRACE back"]]
    for outcome in outcomes:
        shown = outcome.exchange
        assert "Authorization: Bearer ***" in shown.sent
        assert SECRET not in shown.sent + shown.received + shown.shell
    assert "Authorization: Bearer ***" in outcomes[1].exchange.received


def test_what_is_sent_can_be_read(of_small):
    """An end of line is one, and any other byte beyond plain text is an escape."""
    shown = of_small["path: A raw byte beyond ASCII"].exchange.sent
    assert shown.startswith("GET /api/me\\xff HTTP/1.1\nHost: ")
    shown = of_small["bare line feeds"].exchange.sent
    assert shown.startswith("GET /api/me HTTP/1.1\\nHost: ")
    shown = of_small["head: a NUL in a value"].exchange.sent
    assert "\nX-A: a\\x00b\n" in shown
    shown = of_small["head: a header of 10 MB"].exchange.sent
    assert len(shown) < 2100
    assert shown.endswith("aaa…")
    shown = of_small["gone: in a body"].exchange.sent
    assert shown.endswith("{\n(and then hung up)\n(this and the like over 20 connections)")


#: What stands in for nc: it keeps what it is given.
KEEPER = "#!/bin/sh\ncat > {kept}\n"


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "two credentials: the owner's twice",
        "path: Half an escape",
        "path: A backslash",
        "target: one with a NUL in it",
        "json: UTF-16 with a byte order mark",
        "method: of signs",
        "json of 10,000 levels: objects",
        "fifty pipelined",
        "http/2",
        "less than was said: a text that is whole",
    ],
)
def test_the_line_for_a_shell_sends_the_same_bytes(small, of_small, tmp_path, name):
    """It takes the credential from a variable, so that none is written down."""
    keeper, kept = tmp_path / "nc", tmp_path / "kept"
    keeper.write_text(KEEPER.format(kept=kept))
    keeper.chmod(0o755)
    exchange = of_small[name].exchange
    assert exchange.shell.endswith(f" localhost {small.address.port}")
    line = re.sub("sleep [0-9.]+", "true", exchange.shell)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CREDENTIAL": small.credential}
    subprocess.run(["/bin/sh", "-c", line], env=environment, check=True)
    [opening] = PROBES[name].openings(small)
    assert kept.read_bytes() == b"".join(segment.whole for segment in opening)


def test_a_shell_speaks_tls_by_openssl_and_does_not_do_all_things(
    small_with_tls, of_small_with_tls
):
    """None is better than a line that does something else."""
    port = small_with_tls.address.port
    shell = of_small_with_tls["plain"].exchange.shell
    assert shell.endswith(
        f"| openssl s_client -quiet -servername localhost -connect localhost:{port}"
    )
    for name in ("gone: in a head", "broken off: in a head", "half closed: at once"):
        assert of_small_with_tls[name].exchange.shell is None


# ── The file ─────────────────────────────────────────────────────────────────────────────────────


def test_every_probe_says_what_it_promises_and_where_that_stands():
    """In one sentence, with a rule or a page."""
    for probe in PROBES.values():
        assert re.fullmatch(r"[A-Z0-9].*[^.]", probe.promise), probe.id
        assert "${" not in probe.promise, probe.id
        assert re.search(r"\b(HT-\d\d|RFC \d+|The document|CVE-)", probe.source), probe.id


def test_every_rule_that_a_socket_can_try_is_tried():
    """Of the rules of HTTP in docs/security.md."""
    tried = {rule for probe in PROBES.values() for rule in re.findall("HT-[0-9]+", probe.source)}
    assert tried >= {f"HT-{number:02}" for number in (4, 5, 7, 8, 9, 10, 12, 13)}


def test_lengths_are_those_of_the_bodies_unless_a_lie_is_what_is_tried(small):
    """Else a refusal would be for another reason than the probe's."""
    for name in ("json: A lone surrogate", "content type: plain text", "body of a GET"):
        [opening] = PROBES[name].openings(small)
        head, _, body = b"".join(each.whole for each in opening).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sends": ""}, "'sends'"),
        ({"then": "dance"}, "dance is nothing to do"),
        ({"send": "${nobody}"}, "nobody"),
    ],
)
def test_a_probe_that_is_misspelt_is_no_probe(monkeypatch, small, entry, said):
    """A word too many would else be a check too few."""
    raw = {"id": "x", "promise": "x", "source": "x", "send": "", "expect": {}, **entry}
    monkeypatch.setattr(table, "_raw", lambda: {"words": {}, "probes": [raw]})
    with pytest.raises((ValueError, LookupError), match=said):
        [probe.openings(small) for probe in load_probes.__wrapped__()]


def test_two_probes_do_not_share_an_id(monkeypatch):
    """A report would show one of them."""
    raw = {"id": "x", "promise": "x", "source": "x", "send": "", "expect": {}}
    monkeypatch.setattr(table, "_raw", lambda: {"words": {}, "probes": [raw, raw]})
    with pytest.raises(ValueError, match="same id"):
        load_probes.__wrapped__()


def test_a_small_deployment_is_reached_by_its_address(small):
    """What the tests above rest on."""
    with Connection(small.address, seconds=1) as connection:
        assert connection.send(b"x", seconds=1)
