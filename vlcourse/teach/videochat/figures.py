"""The drawn figures of the VideoChat lecture; what it measures is in plots.py.

Blue is what sees, orange-red are words, purple is what looks over time; grey, with a hatched edge,
is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlcourse.teach.adapter.figures import PROMPT as TIME
from vlcourse.teach.adapter.figures import PROMPT_TEXT as TIME_TEXT
from vlcourse.teach.adapter.figures import frozen
from vlcourse.teach.clip.figures import IMAGE, MATCH, TEXT
from vlcourse.teach.drawing import arrow, box, canvas, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def systems() -> Figure:
    """The paper's two systems, from the video to the answer."""
    figure, (upper, lower) = new_figure(13.5, 7.0, rows=2)
    canvas(upper, 30, 7)
    upper.set_title("VideoChat-Text: nothing is trained", fontsize=14)
    for row, tool in enumerate(("captions", "tags", "things, boxes", "subtitles")):
        y = 5.3 - 1.55 * row
        frozen(upper, 5.2, y, 5.2, 1.3, tool)
        arrow(upper, (3.7, 3.5), (5.1, y + 0.65))
        arrow(upper, (10.5, y + 0.65), (12.5, 3.5))
    box(upper, 12.6, 2.6, 5.6, 1.8, "one text\nwith times", TEXT, 13)
    frozen(upper, 20.6, 2.6, 4.2, 1.8, "LLM")
    canvas(lower, 30, 7)
    lower.set_title("VideoChat-Embed: what is not hatched is trained", fontsize=14)
    for x, width, name, colour in (
        (4.6, 3.2, "image\ntower", ""),
        (8.8, 3.2, "GMHRA", TIME),
        (13.0, 3.2, "Q-Former", ""),
        (17.2, 3.0, "linear\nmap", MATCH),
        (21.2, 3.6, "LLM", ""),
    ):
        if colour:
            box(lower, x, 2.6, width, 1.8, name, colour, 13)
        else:
            frozen(lower, x, 2.6, width, 1.8, name)
        arrow(lower, (x - 0.9, 3.5), (x - 0.1, 3.5))
    box(lower, 13.0, 5.4, 3.2, 1.2, "+ queries", TIME, 13)
    arrow(lower, (14.6, 5.3), (14.6, 4.5))
    for axis, left in ((upper, 22.7), (lower, 23.0)):
        box(axis, 0.3, 2.6, 3.3, 1.8, "video", IMAGE, 13)
        axis.text(left, 0.4, "the question", ha="center", color=TEXT, fontsize=13)
        arrow(axis, (left, 1.1), (left, 2.5))
        arrow(axis, (24.9, 3.5), (26.0, 3.5))
        axis.text(26.2, 3.5, "the answer", va="center", color=MATCH, fontsize=13)
    arrow(upper, (18.3, 3.5), (20.5, 3.5))
    return figure
