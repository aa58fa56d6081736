"""`/methods`: every status, method, kind of event and rule, explained; the same words everywhere else lead here."""

from starlette.requests import Request
from starlette.responses import Response

from monitor.explain import METHOD_WORDS
from monitor.models import Kind, Status
from monitor.verdict.rules import RULES, RULES_VERSION
from monitor.web.pages.rendering import Pages


async def methods(pages: Pages, request: Request) -> Response:
    """GET."""
    layers: dict[str, list[str]] = {}
    for name in METHOD_WORDS:
        layers.setdefault(name.partition(".")[0], []).append(name)
    return pages.page(
        request, "methods.html", statuses=tuple(Status), kinds=tuple(Kind), layers=layers, rules=RULES,
        rules_version=RULES_VERSION,
    )  # fmt: skip
