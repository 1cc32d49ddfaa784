"""A small catalogue in CMDB's own JSON, and the documented example request that fits it."""

from pathlib import Path

DIRECTORY = Path(__file__).parent
REQUEST = DIRECTORY / "seed-request.json"
"""The example request of CMDB's documentation of ``create_service_instance``, byte for byte."""
CATALOGUE = tuple(sorted(set(DIRECTORY.glob("*.json")) - {REQUEST}))
"""The files that ``bksi catalogue import`` takes."""
