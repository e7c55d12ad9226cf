"""What the processes of runs need, imported before they are forked."""

import torchmetrics  # noqa: F401 - each run is scored in its own process

import fedbench_core.suites.jobs  # noqa: F401
