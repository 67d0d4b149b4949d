"""How well a device is used: model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# Peak dense bf16 FLOP/s by a part of the device's name (NVIDIA's data sheets); the first counts.
PEAKS = {
    "B200": 2250e12, "GH200": 989e12, "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12,
    "H100": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12, "A30": 165e12, "A10G": 70e12,
    "L40S": 362e12, "L40": 181e12, "L4": 121e12, "RTX 5090": 209e12, "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}  # fmt: skip


def peak_flops(device: torch.device) -> float | None:
    """The device's peak in bf16, FLOP/s; None where it is not known, as on a CPU."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


class Utilisation:
    """Counts the FLOPs of one forward pass, and says what part of the peak a speed is.

    Training takes three times a forward pass: the backward pass computes two products for each.
    What gradient checkpointing computes again is no use, so it is not counted. Each rank does the
    same work, so this rank's count and device stand for all.
    """

    def __init__(self, device: torch.device) -> None:
        self.peak = peak_flops(device)
        self.flops = 0

    def forward(self, run: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Run a forward pass; the first one is counted (eagerly: compiled code cannot be)."""
        if self.peak is None or self.flops:
            return run()
        counter = FlopCounterMode(display=False)
        with torch.compiler.set_stance("force_eager"), counter:
            losses = run()
        self.flops = counter.get_total_flops()
        return losses

    def row(self, passes_per_s: float) -> dict[str, float]:
        """``{"mfu": …}``, 0 to 1, at so many forward and backward passes a second; or nothing."""
        return {"mfu": 3 * self.flops * passes_per_s / self.peak} if self.peak else {}
