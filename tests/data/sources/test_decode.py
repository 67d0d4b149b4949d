"""Stored pictures to RGB tensors: the right values, and a reason for each that is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlcourse.data.sources.decode import REASONS, BadSampleError, decode


def stored(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def tiff_of_12_bits(values: np.ndarray) -> bytes:
    """A little-endian TIFF of 12 bits a pixel, two pixels in three bytes."""
    height, width = values.shape
    first, second = values.reshape(-1, 2).astype(np.uint32).T
    packed = first << 12 | second
    data = b"".join(int(pair).to_bytes(3, "big") for pair in packed)
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 134), (277, 1)]
    tags += [(278, height), (279, len(data)), (339, 1)]
    entries = b"".join(
        tag.to_bytes(2, "little")
        + (4 if tag == 279 else 3).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, value in tags
    )
    head = b"II*\0\x08\0\0\0" + len(tags).to_bytes(2, "little") + entries + bytes(4)
    assert len(head) == 134
    return head + data


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_orientation(orientation: int, kind: str) -> None:
    grey = np.kron(np.array([[0, 80, 160], [40, 120, 240]], dtype=np.uint8), np.ones((16, 16)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = stored(Image.fromarray(grey.astype(np.uint8)), kind, exif=exif)
    small = decode(raw)[0, 8::16, 8::16].numpy().astype(int)
    upright = np.array([[0, 80, 160], [40, 120, 240]])
    expected = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: upright[::-1].T, 7: upright[::-1, ::-1].T, 8: upright.T[::-1],
    }[orientation]  # fmt: skip
    assert small.shape == expected.shape and np.abs(small - expected).max() <= 6


def test_a_broken_tag_beside_the_orientation() -> None:
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation 6
    # Values that Pillow cannot write again, which turning a picture its way tries to do.
    make = b"\x01\x0f\x00\x05\x00\x00\x00\x01\x00\x00\x00\x08"  # a fraction for a name
    width = b"\x01\x00\x00\x02\x00\x00\x00\x02ab\x00\x00"  # a text for a number
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x03" + width + make + entry + bytes(4)
    raw = stored(Image.new("RGB", (4, 2), (255, 0, 0)), "JPEG", exif=exif)
    assert decode(raw).shape == (3, 4, 2)
    raw = stored(Image.new("RGB", (4, 2)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(raw).shape == (3, 2, 4)  # nothing but rubbish: as it is stored


def test_deep_grey_by_its_true_range() -> None:
    ramp = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)
    expected = np.floor(ramp * (256 / 4096)).astype(int)
    for raw in (
        stored(Image.fromarray(ramp), "PNG"),
        stored(Image.fromarray(ramp), "TIFF"),
        tiff_of_12_bits(ramp),
    ):
        assert np.abs(decode(raw)[0].numpy().astype(int) - expected).max() <= 1
    assert int(decode(tiff_of_12_bits(ramp // 8)).max()) == 31  # dark, and known to be of 12 bits
    full = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    assert decode(stored(Image.fromarray(full), "PNG"))[1].flatten()[[0, -1]].tolist() == [0, 255]
    whole = decode(stored(Image.fromarray(full.astype(np.int32)), "TIFF"))[0]
    assert torch.equal(whole, decode(stored(Image.fromarray(full), "TIFF"))[0])


def test_floats_by_their_true_range() -> None:
    unit = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for values in (unit, unit * 255):
        found = decode(stored(Image.fromarray(values), "TIFF"))[2].numpy().astype(int)
        assert np.abs(found - unit * 255).max() <= 1
    for wrong in (unit * 4096, unit - 0.5, unit * np.nan, unit + np.inf):
        with pytest.raises(BadSampleError, match="unknown range of pixels"):
            decode(stored(Image.fromarray(wrong), "TIFF"))
    with pytest.raises(BadSampleError, match="unknown range.*from -5 to 3"):
        decode(Image.fromarray(np.array([[-5, 3]], dtype=np.int32)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[[0] * 3] * 32] * 32, "list of 32 × 32 × 3 values"),
        (np.zeros((8, 9), dtype=np.uint8), "ndarray of 8 × 9 values"),
        ({"pixels": [1], "shape": [1]}, "a struct of pixels, shape"),
        ({"bytes": [1, 2], "path": None}, "a struct of bytes, path"),
        ({"bytes": None, "path": {"name": "x.png"}}, "a struct of bytes, path"),
        (7, "int 7"),
        (True, "bool True"),
    ],
)
def test_what_is_no_picture_is_said(value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadSampleError) as error:
        decode(value, tmp_path)
    assert error.value.reason == "no image" and said in error.value.detail


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["bytes", "path", "x"]), inner),
)


@settings(max_examples=300, deadline=None)
@given(JUNK)
def test_any_value_is_a_picture_or_a_bad_sample(value: Any) -> None:
    with pytest.raises(BadSampleError) as error:
        decode(value, Path("/nowhere"))
    assert error.value.reason in REASONS and "\n" not in error.value.detail


FILES = [
    stored(Image.new("RGB", (16, 16), (9, 200, 30)), kind)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_any_damage_is_a_picture_or_a_bad_sample(raw: bytes, data: st.DataObject) -> None:
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(raw)))])
    try:
        image = decode(cut)
    except BadSampleError as error:
        assert error.reason in REASONS and len(error.detail) < 300
    else:
        assert image.dtype == torch.uint8 and image.shape[0] == 3


@pytest.mark.parametrize("name", ["x" * 6000, "\ud800.png", "a\0b.png", "/" * 9000, "~" * 5000])
def test_a_name_that_cannot_be_one_is_a_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSampleError, match="missing image file") as error:
        decode(name, tmp_path)
    assert len(error.value.detail.encode()) < 1000
