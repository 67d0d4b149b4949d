"""Weights from and to the layouts they are published in: transformers' and their makers'."""

from __future__ import annotations

from vlcourse.weights.adapter import from_released as from_released
from vlcourse.weights.adapter import from_released_v2 as from_released_v2
from vlcourse.weights.adapter import to_released as to_released
from vlcourse.weights.adapter import to_released_v2 as to_released_v2
from vlcourse.weights.blip2_lavis import from_lavis as from_lavis
from vlcourse.weights.blip2_lavis import to_lavis as to_lavis
from vlcourse.weights.blip_official import from_salesforce as from_salesforce
from vlcourse.weights.blip_official import to_salesforce as to_salesforce
from vlcourse.weights.load import from_hf as from_hf
from vlcourse.weights.load import from_official as from_official
from vlcourse.weights.load import from_openai as from_openai
from vlcourse.weights.load import save_hf as save_hf
from vlcourse.weights.load import to_official as to_official
from vlcourse.weights.load import to_openai as to_openai
from vlcourse.weights.load import to_transformers as to_transformers
from vlcourse.weights.peft import from_peft as from_peft
from vlcourse.weights.peft import save_peft as save_peft
from vlcourse.weights.peft import to_peft as to_peft
from vlcourse.weights.rename import Rule as Rule
from vlcourse.weights.rename import WeightsError as WeightsError
from vlcourse.weights.rename import WeightsWarning as WeightsWarning
from vlcourse.weights.videochat import from_opengvlab as from_opengvlab
from vlcourse.weights.videochat import to_opengvlab as to_opengvlab
