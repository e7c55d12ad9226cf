"""The first module of the fork server: the server ends with its parent, and has imported what workers need."""

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
with suppress(OSError, AttributeError):  # elsewhere than on Linux the server ends after its imports
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

from fedbench_core.garbage import importing  # noqa: E402

with importing():
    import fedbench_core.federation.executors.imported  # noqa: F401
