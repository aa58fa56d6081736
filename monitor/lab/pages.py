"""Pages: realistic HTML in made-up words, always the same for the same seed and name."""

from collections.abc import Iterator
from functools import lru_cache
from random import Random

# Syllables, and words that frame a page: enough for pages of different languages to share nothing.
_SYLLABLES = {
    "es": ("ca", "rio", "de", "na", "ción", "pre", "san", "lo", "mar", "ti", "gue", "ro", "bar", "les", "mien", "to"),
    "en": ("th", "ing", "er", "on", "wood", "ly", "ness", "pre", "sh", "ment", "un", "bright", "or", "all", "ow", "ry"),
    "pt": ("ção", "lha", "nho", "por", "da", "mei", "ra", "bra", "sil", "que", "vo", "cê", "jor", "nal", "ões", "tem"),
    "fr": ("eau", "ment", "tion", "que", "vous", "ois", "cher", "ville", "jour", "age", "oir", "bel", "ent", "aux"),
}
LANGUAGES = tuple(_SYLLABLES)
_SECTIONS = {
    "es": ("Política", "Economía", "Sucesos", "Deportes", "Opinión", "Regiones", "Mundo"),
    "en": ("Politics", "Business", "Local", "Sports", "Opinion", "World", "Culture"),
    "pt": ("Política", "Economia", "Cidades", "Esportes", "Opinião", "Mundo", "Cultura"),
    "fr": ("Politique", "Économie", "Régions", "Sports", "Opinions", "Monde", "Culture"),
}


class Writer:
    """Writes in one language with one vocabulary."""

    def __init__(self, seed: str, language: str) -> None:
        self._chance = Random(seed)
        syllables = _SYLLABLES[language]
        self._words = ["".join(self._chance.choices(syllables, k=self._chance.randint(1, 4))) for _ in range(900)]

    def words(self, count: int) -> str:
        """So many words."""
        return " ".join(self._chance.choices(self._words, k=count))

    def title(self) -> str:
        """A few words, at least two of them long."""
        long = [word for word in self._words if len(word) >= 6]
        return " ".join(self._chance.choices(long, k=self._chance.randint(2, 4))).capitalize()

    def articles(self) -> Iterator[str]:
        """Stories without end."""
        while True:
            paragraphs = "".join(f"<p>{self.words(self._chance.randint(20, 60))}.</p>\n" for _ in range(3))
            number = self._chance.randrange(10**6)
            yield (
                f'<article id="n{number}"><h2><a href="/nota/{number}/">{self.words(7).capitalize()}</a></h2>\n'
                f'<img src="/i/{number}.jpg" alt="{self.words(3)}" width="640" height="360">\n{paragraphs}</article>\n'
            )


def front_page(seed: str, language: str, size: int) -> tuple[str, list[str], str]:
    """A news site's front page of about `size` bytes: what stands before the stories, the stories, what follows."""
    writer = Writer(seed, language)
    title = writer.title()
    menu = "".join(f'<li><a href="/{s.lower()}/">{s}</a></li>' for s in _SECTIONS[language])
    style = "".join(f".c{n}{{margin:{n % 9}px;color:#{n * 4099 % 0xFFFFFF:06x}}}" for n in range(40))
    before = (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="description" content="{writer.words(14)}"><style>{style}</style></head>\n'
        f"<body><header><h1>{title}</h1><nav><ul>{menu}</ul></nav></header><main>\n"
    )
    after = f"</main><footer><p>© {title}. {writer.words(12)}.</p></footer></body></html>\n"
    stories: list[str] = []
    length = len(before) + len(after)
    for story in writer.articles():
        stories.append(story)
        length += len(story.encode())
        if length >= size:
            return before, stories, after
    raise AssertionError("stories never end")


@lru_cache(256)
def notice(seed: str, language: str, *, phrase: str = "", size: int = 1500) -> str:
    """A short page that stands in for another: a block page, a portal, a CAPTCHA. phrase: what is known of it."""
    writer = Writer(seed, language)
    title = writer.title()
    text = "".join(f"<p>{writer.words(40)}.</p>\n" for _ in range(max(1, size // 300)))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<p>{phrase}</p>\n{text}</body></html>\n"
    )


def captcha(seed: str, language: str) -> str:
    """A challenge before the page."""
    body = notice(seed, language, phrase="Verify you are human. Checking your browser before accessing the site.")
    return body.replace("</body>", '<form id="challenge-form"><div class="captcha-box"></div></form></body>')
