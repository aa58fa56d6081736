"""Block pages are drawn without access to files or the network: the page asks for both in every way it can, and gets none."""

import base64
import io
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from monitor.evidence import calls, confined, pixels
from monitor.evidence.drawing import FAILED, TOO_LONG, NotDrawn, drawn, output

Image = pytest.importorskip("PIL.Image", reason="the extra report is not installed")

pytestmark = [
    pytest.mark.skipif(not confined.possible(), reason="needs Linux on a 64-bit machine"),
    # Imported where it is used: it starts compilers to find its libraries, wherever this file is only looked at, too.
    pytest.mark.skipif(find_spec("weasyprint") is None, reason="the extra report is not installed"),
]

ROOT = Path(__file__).parent.parent
MAGENTA = (255, 0, 255)  # no text and no border of the page has it


def magenta() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (200, 200), MAGENTA).save(out, "PNG")
    return out.getvalue()


class Seen(BaseHTTPRequestHandler):
    """Serves whatever is asked for, and remembers it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = magenta() if "image" in self.path else b"body { background: #f0f } p { color: #f0f }"
        self.send_response(200)
        self.send_header("Content-Type", "image/png" if "image" in self.path else "text/css")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def tempting(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A page that asks for a file and for a server that are both there; what the server was asked for."""
    (tmp_path / "image.png").write_bytes(magenta())
    (tmp_path / "secret.css").write_text("html, body { background: #f0f !important }")
    asked: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Seen,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    here, there = tmp_path.as_uri(), f"http://127.0.0.1:{server.server_port}"
    yield hostile(here, there), asked
    server.shutdown()
    thread.join()
    server.server_close()


def hostile(here: str, there: str) -> str:
    """In every way that HTML, CSS and SVG know."""
    asking = "".join(
        f"""<link rel=stylesheet href="{at}/secret.css"><style>@import url({at}/secret.css?import);
        @font-face {{ font-family: stolen; src: url({at}/font.ttf) }} @font-face {{ font-family: own; src: local(DejaVu) }}
        .a{n} {{ background: url({at}/image.png?background) }} .b{n} {{ list-style-image: url({at}/image.png?list) }}
        .c{n}::before {{ content: url({at}/image.png?content) }} .d{n} {{ border-image: url({at}/image.png?border) 1 }}
        @page {{ background: url({at}/image.png?page) }} p {{ font-family: stolen, own }}</style>
        <img src="{at}/image.png?img"><img srcset="{at}/image.png?srcset 1x"><object data="{at}/image.png?object"></object>
        <embed src="{at}/image.png?embed"><iframe src="{at}/image.png?frame"></iframe><video poster="{at}/image.png?poster">
        </video><input type=image src="{at}/image.png?input">
        <svg width=200 height=200><image href="{at}/image.png?svg" width=200 height=200 /></svg>
        <svg width=200 height=200><image xlink:href="{at}/image.png?xlink" width=200 height=200 /></svg>
        <svg><use href="{at}/image.png?use#x"/></svg><svg><style>@import url({at}/secret.css?svg)</style></svg>
        <a rel=attachment href="{at}/image.png?attach">a</a><link rel=attachment href="{at}/image.png?attachment">
        <div class=a{n}>.</div><ul><li class=b{n}>.</ul><p class=c{n}>.<p class=d{n} style="border: 9px solid">."""
        for n, at in enumerate((here, there, "file:///etc", "ftp://127.0.0.1", "FILE://localhost/etc"))
    )
    return f"""<html><head><meta http-equiv=refresh content="0;url={there}/refresh"><base href="{here}/">
        <script src="{there}/script.js"></script><script>document.write('<img src="{there}/image.png?script">')</script></head>
        <body background="{there}/image.png?body"><img src="image.png"><img src="//127.0.0.1/x"><h1>Acceso</h1>{asking}
        <?xml-stylesheet href="{there}/secret.css?xml"?><!--[if IE]><img src="{there}/image.png?if"><![endif]--></body></html>"""


def colours(picture: bytes) -> set[tuple[int, int, int]]:
    return {colour for _, colour in Image.open(io.BytesIO(picture)).convert("RGB").getcolors(1 << 24)}


def test_the_page_would_reach_both_if_it_were_let(tempting: tuple[str, list[str]], tmp_path: Path) -> None:
    """Else what follows proves nothing."""
    import weasyprint

    page, asked = tempting
    opened: set[str] = set()
    # Cannot be taken off again: of all that this process opens later it would tell nobody.
    sys.addaudithook(lambda event, arguments: opened.add(str(arguments[0])) if event == "open" else None)
    weasyprint.HTML(string=page).write_pdf(presentational_hints=True)
    wanted = {"img", "object", "embed", "background", "list", "content", "border", "svg", "xlink"}
    assert {f"/image.png?{how}" for how in wanted} | {"/secret.css", "/secret.css?import", "/font.ttf"} <= set(asked)
    assert {str(tmp_path / "image.png"), str(tmp_path / "secret.css")} <= opened


def test_the_page_reaches_neither(tempting: tuple[str, list[str]], tmp_path: Path) -> None:
    page, asked = tempting
    before = sorted(tmp_path.iterdir())
    for what in ("picture", "pdf"):
        content = drawn(what, page)
        assert asked == []
        assert b"/EmbeddedFile" not in content
        if what == "picture":
            assert MAGENTA not in colours(content)
    assert sorted(tmp_path.iterdir()) == before


def test_an_image_that_is_written_in_the_page_is_drawn() -> None:
    """So that a file, had it been read, would have been seen above."""
    page = f'<img src="data:image/png;base64,{base64.b64encode(magenta()).decode()}">'
    assert MAGENTA in colours(drawn("picture", page))


def calls_of(page: bytes, tmp_path: Path) -> list[str]:
    """The system calls from the moment on at which the painter has shut itself in: from strace."""
    log = tmp_path / "calls"
    command = ["strace", "-f", "-o", str(log), sys.executable, "-P", "-m", "monitor.evidence.painter", "picture"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, input=page, capture_output=True, env=env, timeout=300, check=False)
    assert pixels.png(done.stdout).startswith(b"\x89PNG"), done.stderr
    lines = log.read_text("utf-8", "replace").splitlines()
    [start] = [number for number, line in enumerate(lines) if "SECCOMP_SET_MODE_FILTER" in line]
    return [line.partition(" ")[2].strip() for line in lines[start + 1 :]]


def test_not_one_system_call_asks_for_a_file_or_the_network(tempting: tuple[str, list[str]], tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    page, _ = tempting
    made = {match[1] for line in calls_of(page.encode(), tmp_path) if (match := re.match(r"(\w+)\(", line))}
    assert {"read", "write", "exit_group"} <= made
    assert made <= {*calls.ALLOWED, *calls.ALLOWED_IN_PART, *calls.NOT_THERE}


def test_a_page_that_takes_seconds_of_processor_is_given_up() -> None:
    from monitor.evidence.painter import MOST_CPU_S

    before = cpu_s()
    with pytest.raises(NotDrawn, match=TOO_LONG):
        drawn("picture", "<table>" + "<tr><td>x" * 200_000)
    empty = cpu_s()
    drawn("picture", "")  # what beginning takes, whatever the page
    beginning = cpu_s() - empty
    assert empty - before < beginning + MOST_CPU_S["picture"] + 2


def cpu_s() -> float:
    """Seconds of processor, of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_page_that_cannot_be_drawn_is_given_up() -> None:
    with pytest.raises(NotDrawn, match=FAILED):
        drawn("picture", "<div>" * 3000 + "x")


def test_an_image_that_unpacks_to_gigabytes_is_left_out() -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    assert len(out.getvalue()) < 1_000_000
    page = f'<h1>x</h1><img src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'
    assert drawn("picture", page).startswith(b"\x89PNG")


@pytest.mark.parametrize("page", ["", "\0\ud800 no html <svg><svg>", "<style>@page{size:0}</style>" + "😀" * 100])
def test_odd_pages_are_drawn(page: str) -> None:
    assert drawn("picture", page).startswith(b"\x89PNG")


def test_a_page_that_wants_its_words_broken_is_drawn_without_that() -> None:
    """How words of a language are broken stands in a file, which nobody may open."""
    page = "<p lang={} style='hyphens: {} {}; width: 60px'>extraordinariamente"
    assert drawn("picture", page.format("es", "auto", "!important")) == drawn("picture", page.format("", "none", ""))


# --- a page that has taken the painter over --------------------------------------------------------------------------

CONFINED = (
    "import os, signal, threading\nfrom monitor.evidence.confined import confine\nconfine(memory=1 << 31, seconds=20)\n"
)
FOREVER = "held = threading.Lock()\nheld.acquire()\nheld.acquire()"


@pytest.mark.parametrize(
    ("does", "most_s", "why"),
    [
        (f"try:\n while True: os.write(1, b'x' * 4096)\nexcept OSError: pass\n{FOREVER}", 60, FAILED),
        (f"os.write(1, b'x')\n{FOREVER}", 1, TOO_LONG),
        ("os.write(1, b'x')\nos._exit(3)", 60, FAILED),
        ("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: os.write(1, b'')", 2, TOO_LONG),
    ],
    ids=["floods and stays", "stays", "ends badly", "spins"],
)
def test_whatever_it_does_it_ends_and_there_is_no_picture(does: str, most_s: float, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotDrawn, match=why):
        output((sys.executable, "-c", CONFINED + does), "", most=10_000, most_s=most_s)
    assert time.monotonic() - began < 30


def test_whatever_it_writes_is_pixels_or_nothing() -> None:
    """No library of this process, and of no reader's, reads a file that a page has made."""
    assert Image.open(io.BytesIO(pixels.png(struct.pack(">HH", 2, 1) + b"\x89PNG\r\n"))).tobytes() == b"\x89PNG\r\n"
    for content in (
        b"", b"\0", struct.pack(">HH", 2, 2) + bytes(11), struct.pack(">HH", 2, 2) + bytes(13), bytes(4), magenta(),
        struct.pack(">HH", 1001, 1) + bytes(3003), struct.pack(">HH", 0, 9), b"%PDF-1.7",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^$"):
            pixels.png(content)


def test_when_memory_is_short_it_is_the_first_to_go() -> None:
    waits = CONFINED + "os.write(1, b'x')\nos.read(0, 1)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "1000\n"
        process.kill()


def test_the_same_page_gives_the_same_picture() -> None:
    page = "<h1>Acceso restringido</h1><p style='font-family: monospace'>por orden"
    assert drawn("picture", page) == drawn("picture", page)


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['weasyprint'] = None\nfrom monitor.evidence.drawing import drawn\ndrawn('pdf', 'x')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert "NotDrawn: the extra report is missing: pip install 'almenara[report]'" in done.stderr
