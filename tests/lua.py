"""The Redis scripts of all packages, and the files that they are made of."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import api_shim
import contract
import worker
from contract.redis.script import Script

ROOT = Path(__file__).parents[1]
PACKAGES = (api_shim, contract, worker)


def lua_files() -> dict[str, str]:
    """The text of each file of Lua, by its path."""
    found = (path for package in PACKAGES for path in Path(package.__path__[0]).rglob("*.lua"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in found}


def scripts() -> Iterator[tuple[str, Script]]:
    """Every script that a module defines, by its name."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" in module.name or module.name == "worker.app":
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Script):
                    yield f"{module.name}.{name}", value
