"""`/events/ID/evidence.zip`, `/incidents/ID/evidence.zip`: all that is behind it, signed, to take along."""

from email.utils import formatdate

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from monitor.control.quota import client_of
from monitor.evidence.zipped import bundle_name
from monitor.models import Event, Incident
from monitor.web.bundles import Asker
from monitor.web.headers import DATA_POLICY
from monitor.web.pages.rendering import Missing, Pages

_MEDIA_TYPE = "application/zip"
_ROUNDED_S = 600.0  # the second in which it was made is the one in which somebody first asked


async def of_event(pages: Pages, request: Request) -> Response:
    """GET."""
    one = await pages.archive.event(request.path_params["id"])
    if one is None or one.confidence <= 0:
        raise Missing
    return await _answer(pages, request, one)


async def of_incident(pages: Pages, request: Request) -> Response:
    """GET."""
    one = await pages.archive.incident(request.path_params["id"])
    if one is None or not one.events:
        raise Missing
    return await _answer(pages, request, one)


async def _answer(pages: Pages, request: Request, about: Event | Incident) -> Response:
    if pages.bundles is None:
        raise Missing
    language = pages.words(request).code
    asker = Asker(
        client=client_of(request.client.host if request.client else ""), gone=request.is_disconnected,
        resting=pages.archive.is_published,
    )  # fmt: skip
    headers = {
        "Content-Language": language, "Vary": "Accept-Language, Cookie", "Cache-Control": "private, no-cache",
        "Content-Security-Policy": DATA_POLICY,
        "Content-Encoding": "identity",  # it is packed already, and a reader who was cut off goes on where that was
    }  # fmt: skip
    if request.method == "HEAD":  # what checks links makes nothing
        return Response(media_type=_MEDIA_TYPE, headers=headers)
    file = await pages.bundles.of(about, language, asker)
    made = file.stat().st_mtime
    headers |= {"ETag": f'"{file.parent.name}"', "Last-Modified": formatdate(made - made % _ROUNDED_S, usegmt=True)}
    return FileResponse(file, media_type=_MEDIA_TYPE, headers=headers, filename=bundle_name(about.id, language))
