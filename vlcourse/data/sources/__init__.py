"""Pictures and texts that others made: files on this machine, or a data set of the hub."""

from __future__ import annotations

from vlcourse.data.sources.decode import BadSampleError as BadSampleError
from vlcourse.data.sources.decode import SourceError as SourceError
from vlcourse.data.sources.images import open_source as open_source
