"""docs/metrics.md says what is counted, and by Prometheus' names."""

import re

from docs import metrics_page


def test_page_is_that_of_the_metrics() -> None:
    assert metrics_page.main(["--check"]) == 0, "run: python -m docs.metrics_page"


def test_names_are_as_prometheus_wants_them() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", metrics_page.render(), re.M)
    assert len(rows) > 30
    for name, kind in rows:
        assert name.startswith("bksi_")
        assert name.endswith("_total") == (kind == "counter"), name
        # A histogram's name ends in its unit.
        assert kind != "histogram" or name.endswith(("_seconds", "_requests")), name
