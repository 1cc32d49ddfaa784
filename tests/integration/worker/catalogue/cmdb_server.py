"""The CMDB of our own making, with a business of any size."""

from chaos.cmdb.server import CmdbServer as Cmdb
from tests.unit.worker.catalogue.cmdb_items import host, module, process_template, service_template


class CmdbServer(Cmdb):
    """Business 1, as lists that a test may change, on a free port."""

    def fill(self, *, templates: int, modules: int, hosts: int, hosts_per_module: int) -> None:
        """Make a business of this size; the first module is the idle one, the others are bound in turn."""
        self.service_templates = [service_template(id_) for id_ in range(1, templates + 1)]
        self.process_templates = [process_template(id_, id_, "nginx") for id_ in range(1, templates + 1)]
        self.modules = [module(1, service_template_id=0, default=1)]
        self.modules += [module(id_, service_template_id=1 + id_ % templates) for id_ in range(2, modules + 1)]
        self.hosts = [host(id_, f"10.{id_ >> 16}.{id_ >> 8 & 255}.{id_ & 255}") for id_ in range(1, hosts + 1)]
        self.hosts_of = {
            id_: [1 + (id_ * 7 + number) % hosts for number in range(hosts_per_module)] for id_ in range(1, modules + 1)
        }
