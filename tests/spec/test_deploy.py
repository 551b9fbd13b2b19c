"""The files of `docs/deploy/` agree with the settings, the limits and the image of the service.

`tox run -e deploy` starts them; these tests need nothing but the files.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from oneself.settings import Settings
from oneself.web.page_forms import PAGES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "deploy"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
README = (FOLDER / "README.md").read_text()
NGINX = (FOLDER / "nginx.conf").read_text()
CADDY = (FOLDER / "Caddyfile").read_text()
UNIT = (FOLDER / "oneself.service").read_text()
PGBOUNCER = (FOLDER / "pgbouncer.ini").read_text()
PATRONI = yaml.safe_load((FOLDER / "patroni.yml").read_text())
COMPOSE = yaml.safe_load((FOLDER / "compose.proxy.yaml").read_text())["services"]
MANIFESTS = {
    (each["kind"], path.stem): each
    for path in sorted(FOLDER.glob("kubernetes/*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
}
PODS = {
    kind: MANIFESTS[kind, name]["spec"]["template"]["spec"]
    for kind, name in (("Deployment", "service"), ("Job", "migration"))
}
CONFIGURED: dict[str, str] = MANIFESTS["ConfigMap", "settings"]["data"]

every_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def default(name: str) -> Any:
    """Return the default of a setting."""
    return Settings.model_fields[name].default


def test_index_names_each_file():
    """Reliability finding 15: and the operations page and the README link to it."""
    for path in FILES:
        if path.name != "README.md":
            folder = path.parent.relative_to(FOLDER)
            assert f"]({path.name})" in README or f"]({folder})" in README, path.name
    assert "](deploy/README.md)" in (ROOT / "docs" / "operations.md").read_text()
    assert "](docs/deploy/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_named_settings_exist(path: Path):
    """A misspelt variable would be set without effect."""
    known = {f"ONESELF_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bONESELF_[A-Z_]+[A-Z]\b", path.read_text())) <= known
    assert all(len(line) <= 100 for line in path.read_text().splitlines())


def test_proxies_close_idle_connections_before_the_service():
    """Reliability finding 15: else a request can meet a connection that is being closed."""
    [nginx] = re.findall(
        r"^    keepalive_timeout (\d+)s;$", NGINX.partition("\n}\n")[0], re.MULTILINE
    )
    [caddy] = re.findall(r"^\t+keepalive (\d+)s$", CADDY, re.MULTILINE)
    assert int(nginx) < default("head_seconds")
    assert int(caddy) < default("head_seconds")


def test_nginx_lets_the_largest_bodies_pass_and_keeps_passwords_in_memory():
    """Reliability finding 15: the service itself refuses what is larger."""
    [most] = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    assert int(most) * 1024 * 1024 > default("picture_bytes")
    [kept] = re.findall(r"client_body_buffer_size (\d+)k;", NGINX)
    assert int(kept) * 1024 > default("body_bytes")


def test_nginx_logs_no_errors_of_pages_with_secrets():
    """LO-01: an error line repeats the request with its query."""
    [names] = re.findall(r"location ~ \^/\(([a-z|-]+)\)\$", NGINX)
    assert {f"/{name}" for name in names.split("|")} == set(PAGES)


@pytest.mark.parametrize("text", [NGINX, CADDY], ids=["nginx", "Caddy"])
def test_proxies_name_the_settings_that_go_with_them(text: str):
    assert "ONESELF_PUBLIC_URL=https://account.example.com" in text
    assert "ONESELF_TRUSTED_PROXIES=127.0.0.1," in text


def test_unit_gives_time_to_drain_to_the_main_process():
    """OP-01: a signal to the workers would stop them before the drain delay."""
    assert "\nKillMode=mixed\n" in UNIT
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(seconds) > default("drain_seconds") + default("drain_delay_seconds")


def test_unit_has_its_secrets_in_files():
    """OP-04: other processes can read an environment."""
    names = re.findall(r"^LoadCredential=([\w-]+):", UNIT, re.MULTILINE)
    files = re.findall(r"^Environment=ONESELF_([A-Z_]+)_FILE=%d/([\w-]+)$", UNIT, re.MULTILINE)
    assert [name.lower().replace("_", "-") for name, _ in files] == names
    assert [file for _, file in files] == names


def _image_user() -> tuple[int, int]:
    [(user, group)] = re.findall(
        r"^USER (\d+):(\d+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE
    )
    return int(user), int(group)


@every_pod
def test_pod_has_a_read_only_root_and_no_privilege(pod: dict[str, Any]):
    """SC-06: as the user of the image."""
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["runAsGroup"]) == _image_user()
    assert context["fsGroup"] == _image_user()[1]
    assert pod["automountServiceAccountToken"] is False
    # A Service called oneself would set variables that look like settings.
    assert pod["enableServiceLinks"] is False


@every_pod
def test_pod_mounts_the_files_that_its_settings_name(pod: dict[str, Any]):
    """OP-04: which only root and the group of the pod can read."""
    [container] = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    secrets = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
    assert all(each["defaultMode"] == 0o440 for each in secrets.values())
    shapes = {
        each["metadata"]["name"]: each["stringData"]
        for each in yaml.safe_load_all((FOLDER / "kubernetes" / "settings.yaml").read_text())
        if each["kind"] == "Secret"
    }
    assert {value for shape in shapes.values() for value in shape.values()} == {""}
    present = {
        f"{mounts[name]}/{file}"
        for name, secret in secrets.items()
        for file in shapes[secret["secretName"]]
    }
    own = {each["name"]: each["value"] for each in container.get("env", ())}
    named = {value for name, value in {**CONFIGURED, **own}.items() if name.endswith("_FILE")}
    assert named <= present
    assert {"/data", "/tmp"} <= set(mounts.values())  # noqa: S108 # of the container


def test_service_of_kubernetes_has_time_to_drain():
    """OP-01, OP-02: and only the readiness asks the database."""
    pod = PODS["Deployment"]
    [container] = pod["containers"]
    drain = int(CONFIGURED["ONESELF_DRAIN_SECONDS"])
    delay = int(CONFIGURED["ONESELF_DRAIN_DELAY_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > drain + delay
    ready = container["readinessProbe"]
    assert ready["httpGet"]["path"] == "/readyz"
    assert ready["periodSeconds"] * ready["failureThreshold"] <= delay
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"


def test_kubernetes_objects_select_each_other():
    """DB-15: and the migration is an object of its own, with the rights of the owner."""
    deployment = MANIFESTS["Deployment", "service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service", "service"]["spec"]["selector"] == labels
    budget = MANIFESTS["PodDisruptionBudget", "service"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["minAvailable"] < deployment["spec"]["replicas"]
    policy = MANIFESTS["NetworkPolicy", "service"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    job = MANIFESTS["Job", "migration"]["spec"]["template"]
    assert job["metadata"]["labels"] != labels
    images = {pod["containers"][0]["image"] for pod in PODS.values()}
    assert len(images) == 1
    assert PODS["Job"]["containers"][0]["args"] == ["db", "upgrade"]


def test_compose_trusts_the_address_of_its_proxy_only():
    """LG-11, OP-04."""
    proxy = COMPOSE["proxy"]["networks"]["default"]["ipv4_address"]
    assert COMPOSE["service"]["environment"]["ONESELF_TRUSTED_PROXIES"] == proxy
    for name in ("proxy", "mail"):
        assert COMPOSE[name]["read_only"] is True
        assert COMPOSE[name]["cap_drop"] == ["ALL"]
        assert COMPOSE[name]["security_opt"] == ["no-new-privileges"]
    variables = re.findall(r"\{\$(CADDY_\w+)", CADDY)
    assert set(COMPOSE["proxy"]["environment"]) <= set(variables)


def test_pgbouncer_pools_transactions_and_names_its_needs():
    """Reliability finding 3, DB-12."""
    assert "\npool_mode = transaction\n" in PGBOUNCER
    [ignored] = re.findall(r"^ignore_startup_parameters = (.*)$", PGBOUNCER, re.MULTILINE)
    assert "options" in ignored.split(", ")
    assert "?prepare_threshold=none" in PGBOUNCER
    assert "prepare_threshold=none" in README
    assert "The timeouts are in [operations.md](../operations.md#postgresql)." in README


def test_patroni_acknowledges_only_what_a_standby_has():
    """Scale-out P1."""
    dynamic = PATRONI["bootstrap"]["dcs"]
    assert dynamic["synchronous_mode"] is True
    assert dynamic["synchronous_mode_strict"] is True
    assert dynamic["loop_wait"] + 2 * dynamic["retry_timeout"] <= dynamic["ttl"]
    assert all(line.split()[0] in {"local", "hostssl"} for line in PATRONI["postgresql"]["pg_hba"])
