"""deploy/prometheus/prometheus.yml for a system on this machine, where no names of Compose are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

PROMETHEUS: Final = Path(__file__).parent / "prometheus"


def configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The file, but for where each job's processes are (``host:port``), and how often they are asked."""
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    for job in found["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
    found["global"] = dict.fromkeys(found["global"], "250ms")
    found["rule_files"] = [str(PROMETHEUS / name) for name in found["rule_files"]]
    return found
