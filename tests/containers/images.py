"""The images that the tests run: ours, and what stands in for its bases where no registry is in reach.

The stand-in is one Debian, made by debootstrap and imported: its Python, its PostgreSQL, the Valkey of the development
environment, its Prometheus, and every wheel that the locks name, so that the build needs no network.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from devstack.servers import Valkey
from tests.containers.engine import NoContainers

ROOT: Final = Path(__file__).parents[2]
OURS: Final = "bksi:test-containers"
BASES: Final = {
    "PYTHON_IMAGE": "python:3.13-slim-bookworm",
    "POSTGRES_IMAGE": "postgres:18-bookworm",
    "REDIS_IMAGE": "valkey/valkey:9",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
}
"""As docker-compose.yml names them when nothing else is asked for."""

_SUITE, _POSTGRES = "bookworm", "15"
_REQUIREMENT: Final = re.compile(r"^\S.*==.* \\\n(?:    --hash=.*\n)+", re.M)
_STAND_IN: Final = "bksi-stand-in"
_POSTGRES_STAND_IN: Final = f"""
FROM {_STAND_IN}
ENV PATH=/usr/lib/postgresql/{_POSTGRES}/bin:/usr/bin:/bin
COPY stand-in-postgres.sh /
ENTRYPOINT ["/stand-in-postgres.sh"]
"""
_PROMETHEUS_STAND_IN: Final = f"""
FROM {_STAND_IN}
ENTRYPOINT ["prometheus"]
"""


def prepare(environment: Mapping[str, str]) -> dict[str, str]:
    """Build our image. Gives the variables under which Compose finds it and its bases.

    Raises:
        NoContainers: the bases cannot be had, neither from a registry nor from Debian.
    """
    bases = {name: os.environ.get(name, image) for name, image in BASES.items()}
    if not all(_is_here(image, environment) for image in bases.values()):
        bases = _stand_ins(environment)
    arguments = ["--build-arg", f"PYTHON_IMAGE={bases['PYTHON_IMAGE']}", "--tag", OURS]
    # A stand-in brings its wheels along; any other base fetches them.
    network = ["--network", "none"] if bases["PYTHON_IMAGE"] == _STAND_IN else []
    _run(["docker", "build", "--quiet", *network, *arguments, str(ROOT)], environment)
    return {**bases, "BKSI_IMAGE": OURS, "POSTGRES_MAJOR": _major(bases["POSTGRES_IMAGE"], environment)}


def _is_here(image: str, environment: Mapping[str, str]) -> bool:
    return any(
        subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
        for command in (["docker", "image", "inspect", image], ["docker", "pull", "--quiet", image])
    )


def _major(image: str, environment: Mapping[str, str]) -> str:
    version = _run(["docker", "run", "--rm", "--entrypoint", "postgres", image, "--version"], environment)
    return version.split()[2].partition(".")[0]


def _stand_ins(environment: Mapping[str, str]) -> dict[str, str]:
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise NoContainers("the base images cannot be pulled; as root and with debootstrap, stand-ins would be made")
    with tempfile.TemporaryDirectory(prefix="bksi-stand-in-") as name:
        root = Path(name)
        packages = f"python3-venv,ca-certificates,postgresql-{_POSTGRES},redis-tools,prometheus,wget"
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", _SUITE, name], environment)
        _furnish(root)
        _import(root, environment)
    build = ["docker", "build", "--quiet", "--network", "none", "--file", "-"]
    for name, dockerfile in (("postgres", _POSTGRES_STAND_IN), ("prometheus", _PROMETHEUS_STAND_IN)):
        _run([*build, "--tag", f"{_STAND_IN}-{name}", str(Path(__file__).parent)], environment, dockerfile)
    return {
        "PYTHON_IMAGE": _STAND_IN,
        "POSTGRES_IMAGE": f"{_STAND_IN}-postgres",
        "REDIS_IMAGE": _STAND_IN,
        "PROMETHEUS_IMAGE": f"{_STAND_IN}-prometheus",
    }


def _furnish(root: Path) -> None:
    """What the real images have and a plain Debian has not."""
    (root / "usr/bin/python").symlink_to("python3")
    shutil.copy2(Valkey.program(), root / "usr/bin")
    for name, owner in (("data", 999), ("prometheus", 65534)):
        (root / name).mkdir()
        os.chown(root / name, owner, owner)
    version = _run(
        ["chroot", str(root), "python3", "-c", "import platform; print(platform.python_version())"], os.environ
    )
    _download(root / "wheels", version.strip())
    (root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")


def _download(wheels: Path, version: str) -> None:
    """What the locks want on Python `version`, which need not be the one that runs here."""
    wheels.mkdir()
    wanted = wheels / "wanted.txt"
    locks = "".join((ROOT / f"requirements/{name}.lock").read_text() for name in ("run", "build"))
    # A package may be in both, once with a marker and once without.
    blocks = {_without_marker(block) for block in _REQUIREMENT.findall(locks) if _applies(block, version)}
    wanted.write_text("".join(sorted(blocks)))
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    target = ["--only-binary", ":all:", "--python-version", version, "--dest", str(wheels)]
    _run([*download, *target, "--requirement", str(wanted)], os.environ)


def _applies(block: str, version: str) -> bool:
    marker = Requirement(block.partition(" \\\n")[0]).marker
    return marker is None or marker.evaluate({"python_full_version": version})


def _without_marker(block: str) -> str:
    head, _, hashes = block.partition(" \\\n")
    return f"{head.partition(' ; ')[0]} \\\n{hashes}"


def _import(root: Path, environment: Mapping[str, str]) -> None:
    with subprocess.Popen(["tar", "--create", "--directory", root, "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", _STAND_IN], env=environment, stdin=tar.stdout, check=True)


def _run(command: list[str], environment: Mapping[str, str], given: str | None = None) -> str:
    done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoContainers(f"{' '.join(command[:2])} failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout
