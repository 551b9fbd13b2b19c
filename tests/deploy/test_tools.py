"""The files of `docs/deploy/` are valid by the tools of their formats."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.proxies import FILES

pytestmark = pytest.mark.nightly

ROOT = FILES.parents[1]
MANIFESTS = sorted((FILES / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_match_the_schemas_of_kubernetes(path: Path):
    """Reliability finding 15: strictly, so that a misspelt field is an error."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = [*yaml.safe_load_all(path.read_text())]
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, "1.32", strict=True)
    with pytest.raises(Exception, match="unexpected"):
        kubernetes_validate.validate({**documents[0], "spek": {}}, "1.32", strict=True)


def test_compose_files_can_be_merged():
    """Reliability finding 15: the proxy and the mail catcher, beside the services of the root."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is missing (Debian: apt-get install docker-compose)")
    secrets = dict.fromkeys(("DATABASE_PASSWORD", "OWNER_PASSWORD", "ROOT_SECRET"), "made-up")
    files = ["--file", "compose.yaml", "--file", "docs/deploy/compose.proxy.yaml"]
    merged = subprocess.run(
        [program, *files, "config"],
        cwd=ROOT,
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    assert merged.returncode == 0, merged.stderr
    services = yaml.safe_load(merged.stdout)["services"]
    assert set(services) == {"database", "migration", "service", "proxy", "mail"}
    settings = services["service"]["environment"]
    address = services["proxy"]["networks"]["default"]["ipv4_address"]
    assert settings["ONESELF_TRUSTED_PROXIES"] == address
    assert "oneself_service" in settings["ONESELF_DATABASE_URL"]
    published = [str(port) for each in services.values() for port in each.get("ports", [])]
    assert published
    assert all("127.0.0.1" in port for port in published)


def test_patroni_configuration_is_valid():
    """By Patroni itself; three of its checks are about the machine that it runs on."""
    validator = pytest.importorskip("patroni.validator")
    configuration = yaml.safe_load((FILES / "patroni.yml").read_text())
    checks = [*validator.schema.validate(configuration)]
    assert {"name", "bootstrap.dcs.synchronous_mode"} <= {each.path for each in checks}
    invalid = {each.path: each.error for each in checks if not each.status}
    for path in ("restapi.listen", "postgresql.listen", "postgresql.bin_dir"):
        invalid.pop(path, None)
    assert invalid == {}
