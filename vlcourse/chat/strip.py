"""Frames in a row with their seconds, and the attention that a model pays them, as HTML.

Every picture is inside the text (a data address), so that no file is kept to show it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlcourse.chat.protocol import Account
from vlcourse.data.media import Media
from vlcourse.data.segments import clock

HEIGHT, GAP = 64, 4  # pixels of a frame in the row
WIDTH = 1150  # of the row and the film beside it
FILM = (168, 300)  # at most: its height and its width
SEEN = 24  # frames of what a model saw; more cannot be told apart
PLAYED = 6_000_000  # bytes of a film that is sent along to be played
LOW, HIGH = (238, 243, 248), (0, 72, 136)  # the colours of no attention and of the most


def timeline(media: Media, film: bytes = b"") -> str:
    """What was chosen: the film to play, its sampled frames with their seconds, and its notes."""
    if media.still:
        size = f"{media.frames.shape[3]} × {media.frames.shape[2]} pixels"
        facts = f"<figure class='preview'>{picture(media.frames[0], 200)}</figure>"
        return f"<div class='media still'>{facts}<div>{_heading(media.name, size)}</div></div>"
    ratio = media.frames.shape[3] / media.frames.shape[2]
    room = WIDTH - min(FILM[0] * ratio, FILM[1])
    kept = _spread(len(media.times), max(int(room / (HEIGHT * ratio + GAP)), 4))
    frames = "".join(
        f"<figure>{picture(media.frames[i], HEIGHT)}<figcaption>{media.times[i]:.1f} s</figcaption>"
        "</figure>"
        for i in kept
    )
    said = f"{media.duration:.1f} s, {len(media.times)} frames sampled"
    said += f", {len(kept)} of them shown" * (len(kept) < len(media.times))
    rest = "".join(f"<p class='note'>{escape(note)}</p>" for note in media.notes)
    if media.subtitles:
        lines = (f"{clock(s.start)} “{escape(s.text)}”" for s in media.subtitles)
        rest += f"<p class='note'>subtitles: {' · '.join(lines)}</p>"
    return (
        f"<div class='media'>{_player(film) or _still(media)}<div class='row'>"
        f"{_heading(media.name, said)}<div class='frames'>{frames}</div>"
        f"{_axis(media, kept)}{rest}</div></div>"
    )


def playable(media: Media) -> bytes:
    """The file of a video, if it is small enough to be sent along."""
    small = media.path is not None and not media.still and media.path.stat().st_size <= PLAYED
    return media.path.read_bytes() if small and media.path else b""


def account(media: Media, found: Account) -> str:
    """What a model saw: its frames along the time, with the attention that each gets, and the text
    that it read."""
    seen = media.at(list(found.times))
    attention = found.attention
    if attention is not None and attention.shape[-1] != len(seen.times):
        attention = None
    frames = "" if media.still else _along(seen, attention)
    tokens = _tokens(seen, attention, found.share)
    text = f"<pre class='text'>{escape(found.text)}</pre>"
    return f"<div class='account'>{frames}{tokens}{text}</div>"


def notice(text: str, kind: str = "refused") -> str:
    """A sentence for the reader; nothing for none."""
    return f"<p class='notice {kind}' role='status'>{escape(text)}</p>" if text else ""


def picture(pixels: Tensor, height: int, title: str = "") -> str:
    """(3, H, W) uint8 → an ``<img>`` of that height, inside the text."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())  # (H, W, 3)
    image.thumbnail((4 * height, 2 * height))  # twice the pixels of the page, for sharp screens
    return _image(image, "JPEG", f"height='{height}' title='{escape(title)}'")


def _image(image: Image.Image, kind: str, rest: str) -> str:
    file = io.BytesIO()
    image.save(file, kind, quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f"<img alt='' {rest} src='data:image/{kind.lower()};base64,{data}'>"


def _heading(name: str, said: str) -> str:
    return f"<p class='name'><b>{escape(name)}</b> <span>{escape(said)}</span></p>"


def _player(film: bytes) -> str:
    """A player, for a format that browsers know (MP4, WebM) and a size that can be sent along."""
    kinds = {b"ftyp": "mp4", b"\x1aE\xdf\xa3": "webm"}
    kind = kinds.get(film[4:8]) or kinds.get(film[:4])
    if not kind or len(film) > PLAYED:
        return ""
    data = base64.b64encode(film).decode()
    return (
        f"<video class='preview' controls muted loop playsinline height='{FILM[0]}' "
        f"src='data:video/{kind};base64,{data}'></video>"
    )


def _still(media: Media) -> str:
    middle = media.frames[len(media.frames) // 2]
    return f"<figure class='preview'>{picture(middle, 150)}</figure>"


def _axis(media: Media, kept: Sequence[int]) -> str:
    """From 0 to the end, with a mark where each frame was taken."""
    marks = "".join(
        f"<i style='left:{100 * media.times[i] / media.duration:.2f}%'></i>" for i in kept
    )
    ends = f"<span>0 s</span><span>{media.duration:.1f} s</span>"
    return f"<div class='axis'>{marks}</div><div class='ends'>{ends}</div>"


def _along(seen: Media, attention: Tensor | None) -> str:
    """The frames that a model looked at, each as wide as the time until the next one."""
    kept = _spread(len(seen.times), SEEN)
    begun, spans = _spans(seen, kept)
    columns = " ".join(f"minmax(34px, {span:.2f}fr)" for span in spans)
    frames = "".join(_seen(seen, attention, i) for i in kept)
    style = f"padding-left: {begun:.2f}%; grid-template-columns: {columns}"
    return f"<div class='seen' style='{style}'>{frames}</div>"


def _spans(seen: Media, kept: Sequence[int]) -> tuple[float, list[float]]:
    """When the first of the frames was shown, and how long until the next one, or the end.

    In hundredths of the duration.
    """
    times = [seen.times[i] for i in kept]
    whole = max(seen.duration, times[-1], 1e-9) / 100
    ends = [*times[1:], max(seen.duration, times[-1])]
    return times[0] / whole, [(b - a) / whole for a, b in zip(times, ends, strict=True)]


def _seen(seen: Media, attention: Tensor | None, i: int) -> str:
    """One frame that a model looked at, above a bar of its share of the attention."""
    second, bar, title = f"{seen.times[i]:.1f} s", "", ""
    if attention is not None:
        share = float(attention.float().mean(dim=0)[i])
        most = float(attention.float().mean(dim=0).max())
        title = f"{second}: {share:.0%} of the attention"
        bar = f"<b title='{title}'><i style='height:{100 * share / max(most, 1e-9):.0f}%'></i></b>"
    return f"<figure>{picture(seen.frames[i], 40, title or second)}{bar}<figcaption>{second}" + (
        "</figcaption></figure>"
    )


def _tokens(seen: Media, attention: Tensor | None, share: float) -> str:
    """(Q, T) → a folded picture: a line for each token, along the time as the frames above it."""
    if attention is None or attention.shape[-1] < 2:
        return ""
    shares = attention.float().cpu()
    shares = (shares / shares.amax(dim=-1, keepdim=True).clamp(min=1e-9))[..., None]  # (Q, T, 1)
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    pixels = (low + shares * (high - low)).round().to(torch.uint8)  # (Q, T, 3)
    begun, spans = _spans(seen, range(len(seen.times)))
    widths = torch.tensor([max(round(4 * span), 1) for span in spans])
    wide = pixels.repeat_interleave(widths, dim=1).numpy()  # (Q, about 400, 3)
    image = _image(Image.fromarray(np.ascontiguousarray(wide)), "PNG", "class='tokens'")
    count, frames = shares.shape[:2]
    rest = f" {share:.1%} of it goes to frames, the rest to what is made of all together."
    return (
        f"<details class='attention'><summary>attention of {count} tokens over {frames} frames"
        f"</summary><div style='padding-left: {begun:.2f}%'>{image}</div><p class='note'>a line is "
        "a token, from left to right the time; dark: most of this token's attention."
        f"{rest * (share < 1)}</p></details>"
    )


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of 0 … count − 1, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]
