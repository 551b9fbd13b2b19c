"""The repository contains no secrets, neither ours, which a checksum reveals, nor others."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts.crypto import tokens

ROOT = Path(__file__).parents[2]

#: Tokens in the examples of the document, hand-made with a valid checksum.
_EXAMPLES = (
    "8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu",
    "3nR7tY1uIo5Pa9Sd2Fg6Hj0Kl4Zx8Cv1Bn5Mq9We3Rt",
    "5hT2wE8rUi0Oq4Az7Sx1Dc6Fv9Gb3Hn0Jm2Kl5Pq8Zw",
    "9kL4mN2bVc7Xz1Qa8Ws5Ed3Rf6Tg0Yh2Uj9Ik4Ol7Pw",
)
_KINDS = re.compile(r"\b(sess|tok|pat|ref|ots|cls)_[0-9A-Za-z]{20,}")
_KEYS = re.compile(r"\b[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{12}_[0-9A-Za-z]{20,}")

#: Secrets of other services, in their documented formats.
_OTHERS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}"),
    "a JWT": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{86,}"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{60,})"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "a token of PyPI": re.compile(r"\bpypi-AgEI[\w-]{50,}"),
    "a password in an address": re.compile(
        r"\b\w+(?:\+\w+)?://[\w.-]+:(?P<word>[^\s:@/#'\"`{}<>$…]{8,})@[\w-]"
    ),
}
#: Placeholders for a password in examples of addresses.
_WORDS = re.compile(r"password|canary")


def _files() -> list[Path]:
    """Return the files under version control or, without git, all files."""
    git = shutil.which("git")
    listed = git and subprocess.run(
        [git, "-C", ROOT, "ls-files", "-z"], capture_output=True, check=False, text=True
    )
    if listed and listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    hidden = {".git", ".tox", "node_modules", "__pycache__", "dist", "data"}
    return [each for each in ROOT.rglob("*") if each.is_file() and not hidden & {*each.parts}]


def _is_example(token: str) -> bool:
    return any(example in token for example in _EXAMPLES)


def _secrets_in(text: str) -> Iterator[str]:
    """Yield a description of each secret."""
    for kind in _KINDS.finditer(text):
        if tokens.is_well_formed(kind[0], f"{kind[1]}_") and not _is_example(kind[0]):
            yield f"a token of ours, {kind[0][:8]}…"
    for key in _KEYS.finditer(text):
        brand = key[0].partition("_")[0]
        if tokens.api_key_prefix(key[0], brand) and not _is_example(key[0]):
            yield f"an API key of ours, {key[0][:8]}…"
    for name, pattern in _OTHERS.items():
        for match in pattern.finditer(text):
            if not _WORDS.search(match.groupdict().get("word") or ""):
                yield f"{name}, {match[0][:12]}…"


def test_no_file_contains_a_secret():
    """SC-03: a committed secret stays in the history."""
    secrets = []
    files = _files()
    assert len(files) > 300
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or a file being deleted
        secrets += [f"{path.relative_to(ROOT)}: {each}" for each in _secrets_in(text)]
    assert secrets == []


@pytest.mark.parametrize("prefix", [tokens.SESSION, tokens.ACCESS_TOKEN, tokens.PAT])
def test_our_tokens_are_detected(prefix):
    """SC-03: and a string with a wrong checksum is not."""
    token = tokens.mint(prefix)
    assert list(_secrets_in(f'{{"token": "{token}"}}'))
    assert not list(_secrets_in(f"{token[:-1]}{'0' if token[-1] != '0' else '1'}"))


def test_our_api_keys_are_detected():
    """SC-03: with any brand."""
    assert list(_secrets_in(f"X-API-Key: {tokens.mint_api_key('acme').key}"))


@pytest.mark.parametrize(
    "parts",
    [
        ("-----BEGIN RSA PRIVATE", " KEY-----\n", "MIIEpAIBAAKCAQEA" * 5),
        ("ey" + "J" + "a" * 20, ".ey", "J" + "b" * 20 + "." + "c" * 90),
        ("gh", "p_", "A1b2" * 9),
        ("AK", "IA", "ABCDEFGH12345678"),
        ("xo", "xb-", "1234567890-abcdef"),
        ("postgresql", "://oneself:", "h0rse-battery@db.example.com/x"),
    ],
    ids=["private key", "JWT", "GitHub", "AWS", "Slack", "address"],
)
def test_secrets_of_other_services_are_detected(parts):
    """SC-03."""
    assert list(_secrets_in("".join(parts)))
