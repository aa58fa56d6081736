"""The line itself: is it proven well enough that a site's silence or slowness is not the line's own?

A line that is narrow, full or lossy produces every timeout there is. So a timeout accuses only where, in the same minute,
everything else on this line answered in good time, and the site met the same each time.
"""

import statistics
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain

from monitor import failures as f
from monitor.models import Flow, Http, NeutralCheck, Purpose, Tcp, Tls
from monitor.verdict.facts import Facts, Place

SILENCES = frozenset({"tcp.timeout", "tls.timeout", "http.timeout", "throttling.rate", "throttling.stall"})
SLOW = frozenset({"throttling.rate", "throttling.stall"})
RESPONSE_BYTES = 2048  # on the wire: more than session tickets, so a response had begun, even if in no whole record
SAME_MINUTE = timedelta(seconds=60)  # conditions.FRESH_S
SPARE = 2.0  # half of what we wait is the most that anything else may take
ALIKE_SHARE = 0.75  # of the attempts came as far as the others
DEAD_NEUTRAL = 1  # a neutral site that never connects may be gone or cut off; not if others fail as well
SEGMENT = 1500  # bytes; attempts that stop within one packet of each other stop at the same place
WEB_PORTS = frozenset({80, 443})
UNTOLD_PAGE = 65_536  # bytes, where the control does not tell how long the page is, or nothing of it came at all
STOPS = 3  # attempts


def healthy(facts: Facts, place: Place, method: str, cut: Sequence[Flow]) -> bool:
    """May these timeouts be laid to somebody's charge? Other people's recordings do not tell; ours do."""
    if facts.m.conditions.checked is None:
        return True
    waited_s = min(flow.duration for flow in cut)
    return (
        _neutral_sites_answer(facts)
        and _in_good_time(facts, waited_s)
        and _in_the_same_minute(facts, cut)
        and _alike(method, cut)
        and (method in SLOW or not _silent_before(facts, cut))
        and _wide_enough(facts, place, method, cut, waited_s)
    )


def began(seen: Flow) -> bool:
    """Had the answer begun when we stopped waiting?"""
    if isinstance(seen, Http):
        return seen.status is not None or seen.bytes_received >= RESPONSE_BYTES
    return isinstance(seen, Tls) and seen.bytes_received > 0


def _neutral_sites_answer(facts: Facts) -> bool:
    """None was silent, when the vantage was checked or beside the site, but for one that cannot be connected to at all.

    That one may be gone for good, or cut off for minutes: where a censor met the site's name at its address.
    """
    checks = [check for check in facts.m.conditions.neutral if check.family == 4 or facts.m.conditions.online6]
    silent = [check for check in checks if check.failure == f.TIMEOUT or check.layer == "dns"]
    reached = [check for check in checks if check.failure is None]
    gone = len(silent) <= DEAD_NEUTRAL < len(reached) and all(map(_never_connects, silent))
    # On another port than the web's a neutral site need not answer.
    beside = [seen for seen in _flows(facts) if seen.purpose is Purpose.NEUTRAL and seen.port in WEB_PORTS]
    mute = [seen for seen in beside if seen.failure == f.TIMEOUT]
    cut_off = len({seen.address for seen in mute}) <= DEAD_NEUTRAL < len(reached)
    return (not silent or gone) and (not mute or (cut_off and all(isinstance(seen, Tcp) for seen in mute)))


def _never_connects(check: NeutralCheck) -> bool:
    return check.layer == "tcp"


def _in_good_time(facts: Facts, waited_s: float) -> bool:
    """Did every connection and handshake that succeeded, with whomever, take less than half of what we wait?"""
    steps = [s for s in (*facts.m.tcp, *facts.m.tls) if s.failure is None or s.failure in f.CERTIFICATE_FAILURES]
    slow = [s for s in steps if s.duration * SPARE > waited_s and (isinstance(s, Tcp) or s.purpose is Purpose.NEUTRAL)]
    return not slow


def _in_the_same_minute(facts: Facts, cut: Sequence[Flow]) -> bool:
    """Was the vantage checked within a minute of an attempt that was met by silence?"""
    checked = facts.m.conditions.checked
    begun = [facts.m.started + timedelta(seconds=seen.started) for seen in cut]
    return checked is not None and any(abs(checked - when) <= SAME_MINUTE for when in begun)


def _alike(method: str, cut: Sequence[Flow]) -> bool:
    """Silence is silence each time; what is slowed or stopped comes about as far each time. Chance does neither."""
    if method not in SLOW:
        return not any(map(began, cut))
    came = [seen.bytes_received for seen in cut if isinstance(seen, Http | Tls)]
    middle = statistics.median(came)
    near = sum(1 for one in came if middle / 2 <= one <= middle * 2)
    return near >= ALIKE_SHARE * len(came)


def _silent_before(facts: Facts, cut: Sequence[Flow]) -> bool:
    """Was an earlier step to the site, or to whoever was told its name, met by silence at times? A censor cuts in one layer."""
    before: Sequence[Flow] = ()
    if isinstance(cut[0], Http):
        before = (*facts.m.tcp, *facts.m.tls)
    elif isinstance(cut[0], Tls):
        before = facts.m.tcp
    peers = {(seen.address, seen.port) for seen in cut}
    peers |= {(seen.address, cut[0].port) for seen in before if seen.purpose is Purpose.NAME_ELSEWHERE}
    return any(seen.failure == f.TIMEOUT and (seen.address, seen.port) in peers for seen in before)


def _wide_enough(facts: Facts, place: Place, method: str, cut: Sequence[Flow], waited_s: float) -> bool:
    """Would the page have fitted through this line while we waited, as fast as neutral pages came just then?"""
    if method == "throttling.stall" and same_place(cut):
        return True
    speed = facts.m.conditions.speed
    if speed is None:
        return method not in SLOW
    pages = [seen.bytes_received for seen in facts.control_pages(place) if seen.bytes_received]
    page = max(pages, default=UNTOLD_PAGE)
    return speed * waited_s >= (page if method in SLOW else min(page, UNTOLD_PAGE))


def same_place(cut: Sequence[Flow]) -> bool:
    """Did each attempt stop at the same byte? No line does that, however slow."""
    came = [seen.bytes_received for seen in cut if isinstance(seen, Http)]
    return len(came) >= STOPS and max(came) - min(came) <= SEGMENT


def _flows(facts: Facts) -> chain[Flow]:
    return chain(facts.m.tcp, facts.m.tls, facts.m.http)
