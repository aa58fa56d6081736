"""A lab for the tests that need one: skipped where this machine cannot have any. One that it can have must start."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.lab.box import Lab
from monitor.lab.namespaces import LabError, prepare
from monitor.lab.world import World


def possible() -> None:
    """Skips where it is not."""
    try:
        prepare()
    except LabError as exc:
        pytest.skip(f"the lab cannot run here: {exc}")


@contextmanager
def started(world: World, *, helper: bool = True) -> Iterator[Lab]:
    """A running lab, with a test helper in it."""
    possible()
    with Lab(world) as running:
        if helper:
            running.start_helper()
        yield running
