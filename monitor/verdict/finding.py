"""A finding: interference in one layer, with what supports it."""

from msgspec import Struct

from monitor.models import Reason


class Finding(Struct, frozen=True, kw_only=True):
    """method: `layer.technique`. denies: it keeps the vantage from the site. evidence: names of `likelihood.LOG10_LR`."""

    method: str
    hop: int
    denies: bool
    confirmed: bool
    evidence: tuple[str, ...]
    reason: Reason

    @property
    def layer(self) -> str:
        """dns, tcp, tls, http or throttling."""
        return self.method.split(".")[0]
