"""Random crop and flip of a whole batch at once, drawn from counters.

Shapes: B batch, C channels, H height, W width; S = 2 padding + 1 places of the crop per axis.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from distilljob_trainer.data.counters import hashes

_BITS = 21  # of the hash, for each coordinate: an offset's bias is below S / 2^21
_FIELD = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Pad with black, crop back to the size, flip left to right for every second image."""

    padding: int
    flip: bool

    def __str__(self) -> str:
        return f"pad {self.padding}, random crop" + (", random horizontal flip" if self.flip else "")

    def __call__(self, images_BCHW: Tensor, ids_B: Tensor, key: int) -> Tensor:
        """Augment unnormalized images; each depends on its id and the key, not on batch, order or device."""
        bits_B = hashes(key, ids_B)
        places = 2 * self.padding + 1
        row_B = ((bits_B & _FIELD) * places) >> _BITS
        column_B = (((bits_B >> _BITS) & _FIELD) * places) >> _BITS
        height, width = images_BCHW.shape[-2:]
        padded_BCHW = pad(images_BCHW, (self.padding,) * 4)
        windows = padded_BCHW.unfold(2, height, 1).unfold(3, width, 1)  # a view, [B, C, S, S, H, W]
        crops_BCHW = windows[torch.arange(len(ids_B), device=ids_B.device), :, row_B, column_B]
        if not self.flip:
            return crops_BCHW
        return torch.where((bits_B < 0)[:, None, None, None], crops_BCHW.flip(-1), crops_BCHW)
