"""Contact sheets: frames side by side with captions, to look at instead of reading numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.types import Frame

_MARGIN = 6
_CAPTION = 22


def contact_sheet(
    frames: Sequence[Frame], captions: Sequence[str] = (), *, columns: int = 4, width: int = 320
) -> Frame:
    """Frames in rows, scaled to one width.

    Args:
        frames: pictures of any size.
        captions: a line under each; missing ones stay empty.
        columns: pictures in a row.
        width: of each picture in pixels.

    Returns:
        One picture on a white ground.
    """
    from PIL import Image, ImageDraw, ImageFont

    pictures = [
        Image.fromarray(frame).resize((width, round(width * frame.shape[0] / frame.shape[1]))) for frame in frames
    ]
    columns = min(columns, len(pictures))
    height = max(picture.height for picture in pictures) + _CAPTION
    rows = -(-len(pictures) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + _MARGIN) + _MARGIN, rows * (height + _MARGIN) + _MARGIN), (255, 255, 255)
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for i, (picture, caption) in enumerate(zip(pictures, [*captions, *[""] * len(pictures)], strict=False)):
        left = _MARGIN + (i % columns) * (width + _MARGIN)
        top = _MARGIN + (i // columns) * (height + _MARGIN)
        sheet.paste(picture, (left, top))
        draw.text((left + 2, top + picture.height + 3), caption, fill=(40, 40, 40), font=font)
    return np.asarray(sheet)
