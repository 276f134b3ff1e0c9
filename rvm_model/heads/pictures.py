"""Pictures of the size of a feature map, enlarged to an image's size for people to look at."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def enlarge(rgb: Tensor, height: int, width: int) -> Tensor:
    """Resize a picture bilinearly, without smoothing where it gets smaller.

    Args:
        rgb: uint8 [h, w, 3] on the CPU, where torch resizes bytes as they are.
        height: rows wanted.
        width: columns wanted.

    Returns:
        uint8 [height, width, 3], contiguous.
    """
    # The batch axis comes first and is not added last: only then does torch see that the channels lie together, leave
    # them so, and nothing as large as the image has to be rearranged.
    image = functional.interpolate(rgb[None].permute(0, 3, 1, 2), size=(height, width), mode="bilinear")
    return image[0].permute(1, 2, 0)
