"""The list of cryptographic primitives in docs/security.md is complete and correct."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()

#: The entry in the list for each name of a library; a module alone stands for all of its names.
NAMES = {
    "argon2.low_level": "argon2id",
    "bcrypt": "bcrypt",
    "cryptography.hazmat.primitives.asymmetric.rsa": "RSA",
    "cryptography.hazmat.primitives.asymmetric.rsa.RSAPrivateKey": "RSA",
    "cryptography.hazmat.primitives.asymmetric.rsa.RSAPublicKey": "RSA",
    "cryptography.hazmat.primitives.ciphers.Cipher": "AES-256-CTR",
    "cryptography.hazmat.primitives.ciphers.algorithms.AES": "AES-256-CTR",
    "cryptography.hazmat.primitives.ciphers.modes.CTR": "AES-256-CTR",
    "cryptography.hazmat.primitives.ciphers.aead.AESGCM": "AES-256-GCM",
    "cryptography.hazmat.primitives.hashes.SHA256": "SHA-256",
    "cryptography.hazmat.primitives.kdf.hkdf.HKDF": "HKDF",
    "hashlib.blake2b": "BLAKE2b",
    "hashlib.file_digest": "SHA-256",
    "hashlib.new": "salted SHA",
    "hashlib.pbkdf2_hmac": "PBKDF2",
    "hashlib.scrypt": "scrypt",
    "hashlib.sha256": "SHA-256",
    "hmac.compare_digest": "comparison in constant time",
    "hmac.digest": "HMAC",
    "jwt": "RS256",
    "jwt.algorithms.RSAAlgorithm": "RS256",
    "random.getrandbits": "chance",
    "random.uniform": "chance",
    "secrets": "random numbers",
    "ssl": "TLS",
}
#: Names that are no primitives.
NO_PRIMITIVE = re.compile(
    r"argon2\.exceptions\.|cryptography\.exceptions\.|cryptography\.hazmat\.primitives\.serialization\."
)
LIBRARIES = {
    "argon2",
    "bcrypt",
    "cryptography",
    "hashlib",
    "hmac",
    "jwt",
    "random",
    "secrets",
    "ssl",
}
#: Modules of which each used name is looked up.
IN_PARTS = {"hashlib", "hmac", "random"}


def _used(path: Path) -> Iterator[str]:
    """Yield the full names that a module uses from the libraries."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            names = {each.name for each in node.names}
            yield from names & (LIBRARIES - IN_PARTS)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in IN_PARTS
        ):
            yield f"{node.value.id}.{node.attr}"


def _in_the_code() -> set[tuple[str, str]]:
    uses = set()
    for package in ("accounts", "handlers", "models", "oneself"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for used in _used(path):
                if not NO_PRIMITIVE.match(used):
                    assert used in NAMES, f"{name} uses {used}: add its purpose to docs/security.md"
                    uses.add((NAMES[used], name))
    return uses


def _in_the_list() -> set[tuple[str, str]]:
    section = PAGE.partition("\n## Primitives\n")[2].partition("\n## ")[0]
    items = re.findall(r"^- \*\*(.+?)\*\*: ((?:.|\n  )+)", section, re.MULTILINE)
    return {(name, path) for name, text in items for path in re.findall(r"`([^`]+\.py)`", text)}


def test_uses_of_primitives_are_listed():
    """SC-05."""
    assert len(_in_the_code()) > 15
    assert _in_the_list() == _in_the_code()


def test_broken_primitives_are_not_used():
    """SC-05: MD5 and SHA-1 are not used, except SHA-1 to read hashes of other systems once."""
    names = {name for name, _ in _in_the_code()}
    assert names <= set(NAMES.values())
    for package in ("accounts", "handlers", "models", "oneself"):
        for path in (ROOT / package).rglob("*.py"):
            broken = {"md5", "sha1", "sha224", "arc4", "3des"}
            if path.parent.name == "password_schemes":
                broken.remove("sha1")
            pattern = rf"\b({'|'.join(broken)})\b"
            assert not re.search(pattern, path.read_text(), re.IGNORECASE), path
