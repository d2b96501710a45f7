"""A folder of pictures with everything odd that people's folders hold, the same at every call."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("<b>x<", "Ba$$in", "cat|dog", "犬", "🐈")
SIDE = 24
READ = 200  # files that are pictures, three of which are copies
REPORT = (
    "Of 216 files 200 are read as pictures. Left out: 8 files that cannot be read as pictures "
    "(Ba$$in/a text.jpg, Ba$$in/cut.png, Ba$$in/zero.png, …), 4 hidden, 1 with the ending .heic, 1 with the ending .txt, "
    "2 no ending, 2 already read, to which a link leads again. 3 of those read are copies of another: a copy in two splits "
    "flatters the score. 1 of them in another class, so one of two labels is wrong."
)
# Ten formats, by what Pillow calls them; a few of them under two endings.
FORMS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jfif": "JPEG", ".JPEG": "JPEG", ".gif": "GIF", ".bmp": "BMP"},
    **{".webp": "WEBP", ".ppm": "PPM", ".tif": "TIFF", ".TIFF": "TIFF"},
}
TURNED = 0x0112  # the tag of EXIF that says which way up the camera was held


def picture(label: int, number: int) -> Image.Image:
    """A bright square whose place is the class's, on noise."""
    levels = np.random.default_rng(1000 * label + number).integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    levels[4 * label : 4 * label + 8, 4:20, label % 3] = 255
    return Image.fromarray(levels)


def encoded(image: Image.Image, form: str, **more) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **more)
    return buffer.getvalue()


def odd_files(label: int) -> dict[str, bytes]:
    """Pictures that are read, though much about them is seldom: modes, depths, transparency, cameras' notes, wrong endings."""
    plain, grey = picture(label, 900), picture(label, 901).convert("L")
    levels = np.asarray(grey)
    deep = levels.astype(np.uint16) * 257
    hiding = plain.convert("RGBA")
    hiding.putalpha(grey.point(lambda level: 255 * (level > 60)))
    return {
        "deep.png": encoded(Image.fromarray(deep), "PNG"),
        "deep colours.png": _png_of_16_bits(np.asarray(picture(label, 902)).astype(np.uint16) * 257),
        "X-ray.png": encoded(Image.fromarray(levels.astype(np.uint16) * 16), "PNG"),
        "hiding.png": encoded(hiding, "PNG"),
        "hiding too.webp": encoded(hiding, "WEBP", lossless=True),
        "palette.png": encoded(picture(label, 903).convert("P"), "PNG"),
        "see-through palette.png": encoded(picture(label, 904).convert("P"), "PNG", transparency=bytes(range(256))),
        "one bit.png": encoded(grey.convert("1"), "PNG"),
        "printer's.jpg": encoded(picture(label, 905).convert("CMYK"), "JPEG"),
        "moves.gif": encoded(plain, "GIF", save_all=True, append_images=[picture(label, 906)]),
        "big-endian.tif": encoded(Image.frombytes("I;16B", grey.size, (deep + 1).astype(">u2").tobytes()), "TIFF"),
        "32 bits.tif": encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"),
        "float.tiff": encoded(Image.fromarray(levels.astype(np.float32) / 255), "TIFF"),
        "two pages.tiff": encoded(picture(label, 907), "TIFF", save_all=True, append_images=[plain]),
        "a jpeg in truth.png": encoded(picture(label, 908), "JPEG"),
        "no camera.jpg": encoded(picture(label, 909), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\2\0"),
        "long.png": encoded(picture(label, 910).resize((400, 9)), "PNG"),
        "tiny.bmp": encoded(picture(label, 911).crop((0, 8, 1, 9)), "BMP"),
        **{f"turned {way}.jpg": encoded(picture(label, 920 + way), "JPEG", exif=_turned(way)) for way in range(1, 9)},
    }


def _turned(way: int) -> Image.Exif:
    notes = Image.Exif()
    notes[TURNED] = way
    return notes


def _png_of_16_bits(levels: np.ndarray) -> bytes:
    """(H, W, 3) uint16, which Pillow reads and does not write."""
    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def odd_folder(root: Path) -> Path:
    """Write `root/<class>/…`: `READ` pictures, and what is left out of them as `REPORT` says."""
    for label, name in enumerate(CLASSES):
        place = root / name
        (place / "more").mkdir(parents=True)
        files = odd_files(label)
        copies = {0: 2, 1: 1}.get(label, 0)
        for number in range(READ // len(CLASSES) - len(files) - copies):
            ending = tuple(FORMS)[number % len(FORMS)]
            files[f"{'more/' * (number % 2)}{number} é{ending}"] = encoded(picture(label, number), FORMS[ending])
        for file, content in files.items():
            (place / file).write_bytes(content)
    first, second, *_ = (root / name for name in CLASSES)
    for place, file in ((first, "copy.png"), (first, "another copy.png"), (second, "the same in another class.png")):
        (place / file).write_bytes((first / "X-ray.png").read_bytes())
    _litter(root)
    return root


def _litter(root: Path) -> None:
    first, second, third, *_ = (root / name for name in CLASSES)
    whole = encoded(picture(0, 999), "PNG")
    for folder in (root, first):  # Jupyter's copies: a class they are not, and no more pictures
        (folder / ".ipynb_checkpoints").mkdir()
        for number in range(3):
            (folder / ".ipynb_checkpoints" / f"{number}-checkpoint.png").write_bytes(whole)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)
    files = {
        first: {
            "Thumbs.db": b"x",
            ".DS_Store": b"x",
            "._0.png": b"\0\5\x16\7",
            ".hidden.png": whole,
            "notes.txt": b"x",
        },
        second: {"zero.png": b"", "cut.png": whole[:300], "a text.jpg": b"Dear all,", "from a phone.heic": heic},
        third: {
            **{"from a phone.jpg": heic, "from a browser.avif": b"\0\0\0\x1cftypavif" + bytes(90)},
            **{"cut.webp": encoded(picture(2, 999), "WEBP")[:100], "an error page.gif": b"<!DOCTYPE html><p>404"},
            **{"no ending": whole, "LICENSE": b"free", "desktop.ini": b"x"},
        },
    }
    for place, content in files.items():
        for file, bytes_ in content.items():
            (place / file).write_bytes(bytes_)
    os.symlink(first, first / "more" / "a circle", target_is_directory=True)
    os.symlink(root / CLASSES[3], root / CLASSES[4] / "the neighbour's", target_is_directory=True)
    os.symlink(root / "nowhere.png", third / "leads nowhere.png")


def damaged(content: bytes, number: int) -> bytes:
    """A file of which some is lost: a few bytes changed, its end cut off, a run of zeros, or a broken head; `number` chooses."""
    rng = np.random.default_rng(number)
    levels = np.frombuffer(content, np.uint8).copy()
    place = int(rng.integers(len(levels)))
    match number % 4:
        case 0:
            levels[rng.integers(len(levels), size=8)] = rng.integers(256, size=8)
        case 1:
            levels = levels[:place]
        case 2:
            levels[place : place + len(levels) // 8] = 0
        case 3:
            levels[rng.integers(32, size=4)] = rng.integers(256, size=4)
    return levels.tobytes()
