"""VERIFY.txt: how to check a bundle, in every language that there is."""

from collections.abc import Iterator

from monitor.evidence.manifest import SIGNATURE, SUMS
from monitor.language import Words, available, words


def instructions(key: str) -> str:
    """The file. key: the public one, as it is published."""
    parts = ["\n".join(_paragraphs(words(code), key)) for code in available()]
    return ("\n" + "-" * 72 + "\n\n").join(parts)


def _paragraphs(w: Words, key: str) -> Iterator[str]:
    yield w.text("How to check that nothing in this bundle was changed")
    yield ""
    yield w.text("1. With Almenara: it names every file that was touched, is missing or was added.")
    yield f"\n     almenara verify --key {key} BUNDLE\n"
    yield w.text("2. Without Almenara: the digests of all files, then the signature over the digests.")
    yield f"\n     sha256sum -c {SUMS}\n     minisign -Vm {SUMS} -P {key}\n"
    yield w.text(
        "The key above came with the bundle, and anybody can make a key. Compare it with the one that the publisher tells "
        "elsewhere: on their site, in print, by telephone."
    )
    yield ""
    yield w.text(
        "3. Since when it exists: a signature tells who, not when. Whoever wants a proof of time stamps the signature file, for "
        "example with OpenTimestamps, and keeps the proof beside it:"
    )
    yield f"\n     ots stamp {SIGNATURE}\n     ots verify {SIGNATURE}.ots\n"
