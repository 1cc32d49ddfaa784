"""The name of a service instance (4.3)."""

import pytest

from tests.unit.worker.expand.builders import (
    bind,
    bound,
    free,
    instance,
    locked,
    named,
    one,
    process,
    template,
    unbound,
)
from worker.expand.catalogue import Host
from worker.expand.naming import generate_name, unbound_key

HOST = Host(1, "10.0.0.1")


@pytest.mark.rule("4.3", "address, name and port of the first process joined by _; what is missing leaves no separator")
@pytest.mark.parametrize(
    ("host", "name", "ports", "generated"),
    [
        (HOST, "job_java", ["80"], "10.0.0.1_job_java_80"),
        (HOST, "job_java", [], "10.0.0.1_job_java"),
        (HOST, "", ["80"], "10.0.0.1_80"),
        (HOST, None, [], "10.0.0.1"),
        (Host(1), "job_java", ["80"], "job_java_80"),
        (Host(1), None, [], ""),
        (HOST, "a_b", ["80-90"], "10.0.0.1_a_b_80-90"),
    ],
)
def test_generated_name(host, name, ports, generated):
    assert generate_name(host, name, ports) == generated


@pytest.mark.rule("A34", "all inner addresses of the host, comma-joined as stored; only the bind ip takes the first")
def test_a_host_with_several_addresses_shows_them_all():
    assert generate_name(Host(1, "10.0.0.1,10.0.0.2"), "x", []) == "10.0.0.1,10.0.0.2_x"


@pytest.mark.rule("4.3", "without an inner IPv4 address the inner IPv6 one")
def test_ipv6_stands_in():
    assert generate_name(Host(1, "", "203.0.113.1", "fd00::1"), "x", []) == "fd00::1_x"


@pytest.mark.rule("A33", "the port of the first bind row that has one; the stored (trimmed) process name")
def test_the_first_port_that_is_set_counts():
    assert generate_name(HOST, "x", [None, "", "81", "82"]) == "10.0.0.1_x_81"
    item = named("  nginx  ", bind_info=[{"port": "81", "protocol": "1"}])
    assert one(unbound(), instance(1, item)).name == "10.0.0.1_nginx_81"


@pytest.mark.rule("4.3", "service_instance_name given and not empty: exactly that")
@pytest.mark.parametrize("name", ["x", " x ", "名", "a" * 256])
def test_given_name_is_taken_as_it_is(name):
    assert one(unbound(), instance(1, named(), service_instance_name=name)).name == name
    assert one(bound(template()), instance(1, service_instance_name=name)).name == name


@pytest.mark.rule("A28", "without service_instance_name, or with an empty one, a name is generated")
@pytest.mark.parametrize("name", [None, ""])
def test_no_name_is_generated(name):
    assert one(unbound(), instance(1, named(), service_instance_name=name)).name == "10.0.0.1_nginx"


@pytest.mark.rule(
    "4.3", "bound: the first process is the lowest template id, with the template's values before overrides"
)
def test_an_overridden_port_does_not_show():
    catalogue = bound(
        template(3, bind(1, port=free("80")), bk_process_name=locked("first")),
        template(9, bind(1, port=free("90")), bk_process_name=locked("second")),
    )
    override = process(3, bind_info=[{"template_row_id": 1, "port": "8080"}])
    assert one(catalogue, instance(1, process(9), override)).name == "10.0.0.1_first_80"


@pytest.mark.rule("4.3", "unbound: the first process is the first of the request")
def test_unbound_name_comes_from_the_first_item():
    rows = [{"port": "81", "protocol": "1"}, {"port": "82", "protocol": "1"}]
    assert one(unbound(), instance(1, named("b", bind_info=rows), named("a"))).name == "10.0.0.1_b_81"


LONG_HOST = Host(1, ",".join(f"10.{octet}.0.1" for octet in range(250)))


@pytest.mark.rule(
    "4.3", "a generated name has no limit", ours="none either; beyond 2000 bytes the instance is known by its digest"
)
def test_name_too_long_for_an_index_is_stored_whole_and_known_by_its_digest():
    catalogue = unbound(hosts={1: LONG_HOST})
    long, other = (one(catalogue, instance(1, named(name))) for name in ("nginx", "redis"))
    assert long.name == f"{LONG_HOST.bk_host_innerip}_nginx"
    assert len(long.instance_key.encode()) < 2000
    assert long.instance_key == unbound_key(long.name) != other.instance_key
    assert len(long.instance_key.encode()) > 256  # more than any caller may send


@pytest.mark.parametrize("name", ["x", "名" * 666, "a" * 2000])
def test_name_that_fits_is_the_key(name):
    assert unbound_key(name) == name
