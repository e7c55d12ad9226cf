"""The mean and standard deviation of a dataset's pixels."""

import numpy as np

from fedbench_core.api import Examples, Normalization

_AT_ONCE = 4096
_VALUES = 256
_LEAST_STD = 1 / 255


def pixel_statistics(examples: Examples) -> Normalization:
    """The statistics of all pixels: per channel of color images, and one mean and deviation for gray ones and volumes.

    A deviation is at least one of 255 gray levels. Exact: computed from counts of the 256 values.
    """
    channels = examples.images.shape[-1] if examples.channels == "last" else 1
    counts = np.zeros((channels, _VALUES), np.int64)
    for start in range(0, len(examples), _AT_ONCE):
        pixels = np.asarray(examples.images[examples.indices[start : start + _AT_ONCE]]).reshape(-1, channels)
        counts += [np.bincount(pixels[:, channel], minlength=_VALUES) for channel in range(channels)]
    values, shares = np.arange(_VALUES) / (_VALUES - 1), counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt(np.maximum(0, (shares * (values - mean[:, None]) ** 2).sum(axis=1)))
    return Normalization(tuple(mean.tolist()), tuple(np.maximum(std, _LEAST_STD).tolist()))
