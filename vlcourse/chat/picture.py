"""What the talkers that see one picture have in common: of a video they take the middle frame."""

from __future__ import annotations

from torch import Tensor, nn

from vlcourse.chat.protocol import Account
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.media import Media


def account(media: Media) -> Account:
    """The picture, or the middle frame and when it was shown."""
    middle = media.uniform(1)
    if media.still:
        return Account("the picture", middle.times)
    return Account(f"one frame, shown at {middle.times[0]:.1f} seconds", middle.times)


def pixels(media: Media, size: int, model: nn.Module) -> Tensor:
    """(1, 3, size, size): the same frame, as a model's image tower takes it, on its device."""
    frame = resize(media.uniform(1).frames[0], size)
    return normalise(frame[None].to(next(model.parameters()).device))
