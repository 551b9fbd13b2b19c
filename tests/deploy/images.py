"""The image of the Containerfile, built by buildah, and its processes on a read-only root.

Nothing here needs a container engine: RUN steps run in a chroot, and so does the service, in a
mount namespace of its own. Both need root.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Image", "build_image"]

ROOT = Path(__file__).parents[2]
PROGRAMS = ("buildah", "chroot", "debootstrap", "unshare")
#: What the Containerfile needs of its base, `python` by that name among it.
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
SUITE = "bookworm"
#: Settings of pip that say how this machine reaches its index.
PIP_SETTINGS = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout"}
#: Read-only root, /data from outside, an empty /tmp, and no privilege left.
RUN = """
set -e
mount --bind "$1" "$1"
mount --rbind /proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount --bind "$2" "$1/data"
mount -o remount,bind,ro "$1"
root=$1 user=$3 folder=$4 chroot=$5
shift 5
exec "$chroot" "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: its root file system, and its configuration."""

    root: Path
    config: Mapping[str, Any]

    @property
    def user(self) -> int:
        """The user and group that the image names."""
        user, _, group = self.config["User"].partition(":")
        assert user == group
        return int(user)

    def start(
        self,
        arguments: Sequence[str],
        *,
        data: Path,
        user: int,
        more: Mapping[str, str],
        **how: Any,
    ) -> subprocess.Popen[bytes]:
        """Start the program with arguments, in the environment of the image and `more`."""
        program, *words = [*self.config["Entrypoint"], *arguments]
        environment = dict(each.split("=", 1) for each in self.config["Env"]) | more
        # The PATH of the image lacks the folder of this program.
        chroot = str(shutil.which("chroot"))
        places = [str(self.root), str(data), str(user), self.config["WorkingDir"], chroot]
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", RUN, "sh", *places]
        return subprocess.Popen([*command, program, *words], env=environment, **how)

    def run(self, arguments: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        process = self.start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(
            process.args, process.returncode, output.decode(), errors.decode()
        )


def build_image(folder: Path) -> Image:
    """Build the Containerfile as it is, over a base of Debian packages.

    `ONESELF_TEST_BASE` names an archive of such a base, which takes minutes to make.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing (Debian: apt-get install buildah debootstrap)")
    if os.geteuid() != 0:
        pytest.skip("only root can build a base and enter it")
    archive = Path(os.environ.get("ONESELF_TEST_BASE") or _base(folder))
    container = _buildah(folder, "from", "--quiet", "scratch")
    _buildah(folder, "add", "--quiet", container, archive, "/")
    _buildah(folder, "commit", "--quiet", "--rm", container, "localhost/base")
    pip = folder / "pip.conf"
    pip.write_text(_pip_configuration())
    _buildah(
        folder,
        *("build", "--isolation=chroot", "--format=docker", "--pull-never"),
        *("--build-arg", "BASE=localhost/base", "--file", ROOT / "Containerfile"),
        # How this machine reaches packages: mounted for the build, and in no layer.
        *("--volume", f"{pip}:/etc/pip.conf:ro", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"),
        *("--ignorefile", ROOT / ".dockerignore", "--tag", "localhost/oneself", ROOT),
    )
    inspected = json.loads(_buildah(folder, "inspect", "--type", "image", "localhost/oneself"))
    container = _buildah(folder, "from", "--quiet", "--pull-never", "localhost/oneself")
    root = Path(_buildah(folder, "mount", container))
    return Image(root, inspected["Docker"]["config"])


def _base(folder: Path) -> Path:
    """Make a base with Python from Debian's packages."""
    root, archive = folder / "base", folder / "base.tar"
    _done(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root])
    _done(["tar", "--create", "--file", archive, "--directory", root, "."])
    shutil.rmtree(root)
    return archive


def _buildah(folder: Path, *arguments: str | Path) -> str:
    """Run buildah with a storage of its own, which needs no support by the kernel."""
    storage = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]
    return _done(["buildah", *storage, *arguments])


def _done(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def _pip_configuration() -> str:
    """Return the index settings of this machine's pip, without folders of this machine."""
    pip = shutil.which("pip")
    listed = _done([pip, "config", "list"]) if pip else ""
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        setting, text = name.rpartition(".")[2], value.strip("'")
        if setting in PIP_SETTINGS and "file:" not in text:
            lines.append(f"{setting} = {text}")
    return "\n".join(lines) + "\n"
