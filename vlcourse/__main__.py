"""``python -m vlcourse`` is the ``vlcourse`` command."""

from __future__ import annotations

import sys

from vlcourse.cli import main

sys.exit(main())
