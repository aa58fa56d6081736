"""A picture as it leaves the process that draws: its size and its pixels, of which any are a picture and none a trap.

An image file from a process that a page has taken over could harm whoever opens it; so the file is written by this one.
"""

import io
import struct
from typing import Any

MOST_PX = (1000, 1400)
_SIZE = struct.Struct(">HH")
_OF_A_PIXEL = 3  # red, green, blue
MOST_BYTES = _SIZE.size + _OF_A_PIXEL * MOST_PX[0] * MOST_PX[1]


def told(image: Any) -> bytes:
    """Of an image of Pillow's."""
    return _SIZE.pack(*image.size) + bytes(image.convert("RGB").tobytes())


def png(content: bytes) -> bytes:
    """The file; ValueError where that is no picture, or too large a one."""
    from PIL import Image

    if len(content) < _SIZE.size:
        raise ValueError
    size = width, height = _SIZE.unpack_from(content)
    pixels = content[_SIZE.size :]
    if not (0 < width <= MOST_PX[0] and 0 < height <= MOST_PX[1]) or len(pixels) != _OF_A_PIXEL * width * height:
        raise ValueError
    written = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(written, "PNG", optimize=True)
    return written.getvalue()
