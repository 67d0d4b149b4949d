"""Writing with any model of the course: greedy, by drawing, or by beam search."""

from __future__ import annotations

from vlcourse.generate.loop import Generated as Generated
from vlcourse.generate.loop import generate as generate
from vlcourse.generate.loop import left_pad as left_pad
from vlcourse.generate.loop import search as search
from vlcourse.generate.options import GenerateError as GenerateError
from vlcourse.generate.options import Options as Options
from vlcourse.generate.stream import stream as stream
from vlcourse.generate.stream import stream_text as stream_text
