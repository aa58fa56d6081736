"""What every mapping in probes.yaml has in common."""

from msgspec import Struct


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping in probes.yaml. Unknown keys are errors."""
