"""A finding: interference in one layer, with what supports it."""

from msgspec import Struct

from monitor.models import Reason


class Finding(Struct, frozen=True, kw_only=True):
    """method: `layer.technique`. denies: it keeps the vantage from the site. evidence: names of `likelihood.LOG10_LR`.

    doubted: a bad line does the same, and this one is not proven healthy.
    """

    method: str
    hop: int
    denies: bool
    confirmed: bool
    evidence: tuple[str, ...]
    reason: Reason
    doubted: bool = False

    @property
    def layer(self) -> str:
        """dns, tcp, tls, http or throttling."""
        return self.method.split(".")[0]
