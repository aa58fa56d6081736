"""Which networks there are: a number of a name is one way of telling of a network, an ASN may have several."""

from collections.abc import Mapping

from sqlalchemy import Connection

from monitor.models import Network
from monitor.store.database import Database
from monitor.store.errors import consistent
from monitor.store.names import as_number, network_of
from monitor.store.schema import Word

Known = Mapping[int, Network]


def known(database: Database, connection: Connection) -> Known:
    """Every network that was ever told of, by its number; later ones have larger numbers."""
    with consistent(database.place):
        return {n: network_of(text) for n, text in database.names.all_of(connection, Word.NETWORK).items()}


def numbers_in(networks: Known, country: str) -> list[int]:
    """Those in a country."""
    return [n for n, network in networks.items() if network.country == country]


def asns_in(networks: Known, country: str) -> set[int]:
    """The ASNs (0: not known) of which something may be in a country."""
    return {as_number(network.asn) for network in networks.values() if network.country == country}


def by_asn(networks: Known) -> dict[int, Network]:
    """Each ASN as it was told of last, an observation before a declaration. 0 has a country where all of those have it."""
    found: dict[int, Network] = {}
    for _, network in sorted(networks.items(), key=lambda item: (item[1].source == "observed", item[0])):
        found[as_number(network.asn)] = network
    nameless = {network.country for network in networks.values() if not as_number(network.asn)}
    if nameless:
        found[0] = Network(country=nameless.pop() if len(nameless) == 1 else None)
    return found
