"""`almenara events --exchange`: incidents as CSV, a row or two each, in the columns that #KeepItOn exchanges shutdowns in."""

import csv
import sys

from monitor.alerts.exchange import COLUMNS, rows
from monitor.config import Config
from monitor.language import here
from monitor.publish.export import cell
from monitor.store import Store, locate


def run(config: Config) -> int:
    """Print them, oldest first, and return 0, also where there are none. Raises StoreError."""
    words, public = here(), config.web.public
    with Store.open(locate(config.store), create=False) as store:
        found = [incident for incident in store.incidents() if incident.events]
    sys.stdout.reconfigure(newline="")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    for incident in found:
        link = f"{public}incidents/{incident.id}" if public else None
        for told in rows(words, incident.events, link):
            writer.writerow([cell(told[column]) for column in COLUMNS])
    return 0
