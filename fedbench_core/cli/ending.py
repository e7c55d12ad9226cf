"""How a process of the command line ends: at once, without freeing its objects one by one.

After torch and timm were imported, to free all objects takes two seconds. The operating system frees their memory.
"""

import atexit
import os
import sys


class AtOnce:
    """Ends the process with `status`, once that is known, after all functions that libraries registered for its end."""

    def __init__(self) -> None:
        self.status: int | None = None
        atexit.register(self._end)  # before any other, so that it is called last

    def _end(self) -> None:
        if self.status is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # Python reports it
            return
        os._exit(self.status)
