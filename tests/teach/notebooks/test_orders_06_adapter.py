"""The cells of lecture 06 in whatever order a reader tries."""

from lecture_orders import TestAnyOrder as TestAnyOrder
