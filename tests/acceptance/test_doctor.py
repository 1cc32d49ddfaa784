"""`bksi doctor` on a system as `bksi up` starts it."""

import json
from typing import Any


def test_fresh_system_has_no_error_and_three_risks_of_a_development_machine(stack: Any, bksi: Any) -> None:
    env = {"BKSI_REDIS_URL": stack.redis, "BKSI_POSTGRES_DSN": stack.postgres, "BKSI_FLOWER_URL": stack.flower}
    env["BKSI_METRICS_PORT"] = stack.metrics[1].removesuffix("/metrics").rpartition(":")[2]
    examined = bksi("doctor", "--json", env=env)

    document = json.loads(examined.stdout)
    assert (examined.returncode, document["ok"]) == (0, True)
    # What one user on one machine shares; dead letters are other tests'.
    notable = {finding["check"] for finding in document["findings"] if finding["level"] != "ok"} - {"dead letters"}
    assert notable == {"redis user", "postgres user", "flower"}
