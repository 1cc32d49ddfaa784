"""Ports that two processes of one machine would share."""

from contract.settings import Settings
from worker.commands.doctor.finding import Level
from worker.commands.doctor.ports import examine_ports


def test_each_port_is_one_processs() -> None:
    assert examine_ports(Settings(metrics_port=9101)).level is Level.OK
    shared = examine_ports(Settings(metrics_port=8080))
    assert (shared.level, shared.found) == (Level.ERROR, "BKSI_HTTP_PORT and BKSI_METRICS_PORT are both 8080")
