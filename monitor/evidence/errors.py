"""What can go wrong with bundles and keys, each told in one line."""


class EvidenceError(Exception):
    """It cannot be done. Its text is one line."""


class KeyProblem(EvidenceError):
    """A key cannot be used."""


class NotABundle(EvidenceError):
    """It cannot be read as a bundle."""


class NotWritten(EvidenceError):
    """The bundle cannot be written."""
