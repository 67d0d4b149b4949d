"""What BLIP-2's runs read: pictures with captions for the first stage, and texts for the second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlcourse.recipes.blip_data import BLIPData, with_ids, words
from vlcourse.tokenizers.med import MEDTokenizer


@dataclass(frozen=True)
class BLIP2Data(BLIPData):
    """Pictures with captions. ``config`` in its methods is a `BLIP2Config`."""

    def known(self, config: Any) -> MEDTokenizer:
        """The tokenizer of that name, with the ids of the Q-Former, which has no [ENC]."""
        found = words(self.tokenizer)
        found = replace(found, vocab_size=found.dec + 1)
        return with_ids(self.tokenizer, found, config.qformer, ("vocab_size", "cls", "sep", "dec"))
