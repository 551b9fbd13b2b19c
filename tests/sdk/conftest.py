"""Fixtures for the SDKs: a service, a new user, and the packages of `sdk/build.py`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from oneself_conformance.actors import PASSWORD, Actors
from tests.sdk.new_user import NewUser
from tests.support.operator_acts import open_actors
from tests.support.pictures import encoded, gradient
from tests.support.service import ROOT, Service, started

HERE = Path(__file__).parent / "typescript"
DOCUMENT = yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("sdk")) as running:
        yield running


@pytest.fixture(scope="session")
def actors(service: Service) -> Iterator[Actors]:
    with open_actors(service) as actors:
        yield actors


@pytest.fixture
def new_user(service: Service, actors: Actors) -> NewUser:
    user = actors.sign_up()
    return NewUser(
        url=service.url,
        user_id=user["user_id"],
        tenant_id=user["tenant_id"],
        email=user["email"],
        password=PASSWORD,
        session=user["session_token"],
        tenant_uuid=user["tenant_uuid"],
        client_id=user["client_id"],
        client_secret=user["client_secret"],
        picture=encoded(gradient()),
    )


@pytest.fixture(scope="session")
def dist() -> Path:
    """Returns the folder with the built SDKs; `tox run -e sdk` builds them first."""
    return Path(os.environ["ONESELF_SDK_DIST"])


@pytest.fixture(scope="session")
def work() -> Path:
    """Returns the folder in which they were built, with the tools of the build."""
    return Path(os.environ["ONESELF_SDK_WORK"])


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, dist: Path, work: Path) -> Path:
    """Creates a TypeScript project of a user, with the SDK and the compiler."""
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    (tarball,) = dist.glob("*.tgz")
    # From the tarball alone: the SDK has no runtime dependencies.
    command = ["npm", "install", "--offline", "--ignore-scripts", "--no-audit", str(tarball)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert [path.name for path in folder.glob("node_modules/[!.]*")] == ["oneself-client"]
    (folder / "node_modules" / "@types").symlink_to(work / "typescript/node_modules/@types")
    # The types of Node need these.
    (folder / "node_modules/undici-types").symlink_to(work / "typescript/node_modules/undici-types")
    codes = DOCUMENT["components"]["schemas"]["RefusalCode"]["x-extensible-enum"]
    (folder / "codes.gen.ts").write_text(f"export const codes = {json.dumps(codes)} as const;\n")
    (folder / "examples.json").write_text(json.dumps(list(examples())))
    return folder


def examples():
    for name, response in DOCUMENT["components"]["responses"].items():
        if name[-3:].isdigit() and int(name[-3:]) >= 400:
            (content,) = response["content"].values()
            for code, example in content["examples"].items():
                yield {
                    "name": name,
                    "status": int(name[-3:]),
                    "code": code,
                    "body": example["value"],
                }
