"""BLIP-2's claims."""

from __future__ import annotations

from vlcourse.teach.measurement import Claim

CLAIMS: tuple[Claim, ...] = ()
