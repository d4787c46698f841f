"""Writes resize.json and resize.bin: what Pillow makes of patterned pictures.

    python3 golden/resize.py            writes both; needs Pillow and numpy
    python3 golden/resize.py --check    makes them again and compares

Each case of resize.json names the input's shape, the target, the filter and the crop; resize.bin holds the results
one after another, height x width x 3 bytes each. The input is a formula that the test computes too.
"""

import json
import sys
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
BACKGROUND = (10, 200, 90)


def pattern(width, height):
    """Fast-changing values of all sizes, so that every weight matters."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="xy")
    return Image.fromarray(((x * 37 + y * 101 + c * 59 + x * y * 7 + (x // 5) * (y // 3) * 11) % 256).astype(np.uint8))


def resize(picture, wide, high, how):
    """Columns first, then rows: the order of every Pillow before 13, which now takes the cheaper one first."""
    return picture.resize((wide, picture.size[1]), how).resize((wide, high), how)


def centre(picture, size, how):
    """Short side to size, then the middle; torchvision's Resize and CenterCrop."""
    width, height = picture.size
    short = min(width, height)
    wide, high = size * width // short, size * height // short
    left, top = round((wide - size) / 2), round((high - size) / 2)
    return resize(picture, wide, high, how).crop((left, top, left + size, top + size))


def pad(picture, size, how):
    """Long side to size, then background around it."""
    width, height = picture.size
    long = max(width, height)
    wide, high = (max(1, (2 * size * side + long) // (2 * long)) for side in (width, height))
    square = Image.new("RGB", (size, size), BACKGROUND)
    square.paste(resize(picture, wide, high, how), ((size - wide) // 2, (size - high) // 2))
    return square


SHAPES = [
    ((7, 5), (16, 16)), ((64, 48), (33, 21)), ((1, 1), (4, 3)), ((100, 3), (10, 10)), ((3, 100), (8, 40)),
    ((50, 50), (50, 20)), ((50, 50), (20, 50)), ((257, 131), (64, 64)), ((5, 5), (5, 5)), ((200, 1), (1, 7)),
    ((2, 2), (40, 40)), ((640, 427), (32, 32)), ((33, 17), (9, 8)),
]
SQUARES = [((90, 50), 32), ((50, 91), 32), ((20, 31), 48), ((64, 64), 24), ((300, 7), 16), ((9, 8), 9)]

HERE = Path(__file__).parent


def make():
    """The cases, and their results one after another."""
    cases, data = [], b""
    for name, how in FILTERS.items():
        for (width, height), (wide, high) in SHAPES:
            result = resize(pattern(width, height), wide, high, how)
            cases.append({"filter": name, "crop": None, "from": [width, height], "to": [wide, high]})
            data += np.asarray(result).tobytes()
        for (width, height), size in SQUARES:
            for crop in (centre, pad):
                result = crop(pattern(width, height), size, how)
                cases.append({"filter": name, "crop": crop.__name__, "from": [width, height], "to": [size, size]})
                data += np.asarray(result).tobytes()
    return cases, data


def main():
    cases, data = make()
    if sys.argv[1:] == ["--check"]:
        about = json.loads((HERE / "resize.json").read_text())
        if about["cases"] != cases or about["background"] != list(BACKGROUND):
            sys.exit("resize.json lists other cases than resize.py")
        if (HERE / "resize.bin").read_bytes() != data:
            sys.exit(f"Pillow {PIL.__version__} gives other bytes than resize.bin holds (by {about['pillow']})")
        print(f"resize: {len(cases)} cases, {len(data)} bytes, all the same")
        return
    (HERE / "resize.bin").write_bytes(data)
    about = {"pillow": PIL.__version__, "background": BACKGROUND, "cases": cases}
    (HERE / "resize.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
