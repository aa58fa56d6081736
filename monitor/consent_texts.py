"""What is shown before the question whether to measure, and the question, in each language.

A new version of these texts is a new question: raise `consent.TEXT_VERSION` when what one agrees to changes.
"""

import re
from collections.abc import Mapping

from msgspec import Struct


class Texts(Struct, frozen=True, kw_only=True):
    """One language. risks: with {remembered}, the file that a yes is remembered in."""

    risks: str
    question: str
    again: str
    refused: str
    unremembered: str  # with {file} and {problem}


ENGLISH = Texts(
    risks="""\
Before Almenara measures anything from here, please read this.

What it does. It contacts the news sites in your list from your own connection, as a browser would, including sites
that your network or your government blocks. It asks several name servers about them, and asks a test helper
elsewhere to try the same sites. You can see the list in your probes.yaml and change it.

Who can see it. Your internet provider, and whoever watches its network, can see that you contact these sites, that
you do it again and again, and that you ask public name servers and a test helper: this looks different from
browsing and can be recognised as measuring. The sites and the test helper see your IP address.

What it may mean for you. In some countries visiting such sites, or measuring them, is illegal, or is punished
whether it is or not. If you are at risk already, talk to people who know your country first. Almenara is no VPN and
does not hide you.

What is recorded. For each site: the time, the network's name and number (ISP, ASN, country), the answers of name
servers, the addresses contacted, certificates, and what the pages were like. Where a page looks like a block page
the page itself is kept as evidence.

What is not recorded. Your IP address is removed from what is kept, and nothing else about you, your machine or what
you browse is looked at. Nothing is published by this command.

You may stop at any time. To take your yes back, delete {remembered}
or write `consent: false` in your probes.yaml.
""",
    question="Do you understand this, and want to measure from here? Type yes or no: ",
    again="Please type yes or no: ",
    refused="nothing is measured: consent was not given",
    unremembered="Your yes holds for this run; it could not be remembered in {file}: {problem}",
)

SPANISH = Texts(
    risks="""\
Antes de que Almenara mida nada desde aquí, por favor lee esto.

Qué hace. Contacta los sitios de noticias de tu lista desde tu propia conexión, como lo haría un navegador, incluso
los que tu red o tu gobierno bloquean. Pregunta por ellos a varios servidores de nombres, y le pide a un servidor de
ayuda en otro lugar que pruebe los mismos sitios. Puedes ver la lista en tu probes.yaml y cambiarla.

Quién lo puede ver. Tu proveedor de internet, y quien vigile su red, puede ver que contactas esos sitios, que lo haces
una y otra vez, y que les preguntas a servidores de nombres públicos y a un servidor de ayuda: eso no se parece a
navegar, y se puede reconocer como una medición. Los sitios y el servidor de ayuda ven tu dirección IP.

Qué puede significar para ti. En algunos países visitar esos sitios, o medirlos, es ilegal, o se castiga aunque no lo
sea. Si ya corres peligro, habla antes con gente que conozca tu país. Almenara no es una VPN y no te esconde.

Qué se registra. De cada sitio: la hora, el nombre y el número de la red (proveedor, ASN, país), las respuestas de los
servidores de nombres, las direcciones contactadas, los certificados y cómo eran las páginas. Si una página parece de
bloqueo, se guarda la página misma, como prueba.

Qué no se registra. Tu dirección IP se quita de lo que se guarda, y no se mira nada más de ti, de tu máquina ni de lo
que navegas. Este comando no publica nada.

Puedes parar en cualquier momento. Para retirar tu sí, borra {remembered}
o escribe `consent: false` en tu probes.yaml.
""",
    question="¿Entiendes esto y quieres medir desde aquí? Escribe sí o no: ",
    again="Por favor, escribe sí o no: ",
    refused="no se mide nada: no diste tu consentimiento",
    unremembered="Tu sí vale para esta vez; no se pudo recordar en {file}: {problem}",
)


def texts(environment: Mapping[str, str]) -> Texts:
    """Those of the user's language, as POSIX finds it; English where there are none."""
    locale = next((environment[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(key)), "")
    return SPANISH if re.match(r"es(?![A-Za-z])", locale) else ENGLISH
