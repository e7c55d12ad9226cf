"""From a backbone's name to a network that gives `Outputs`: timm's networks, their stems and what they cost."""

from fedbench_core.models.cost import count_flops, flops, parameters
from fedbench_core.models.naming import ALIASES, knows, names, resolve
from fedbench_core.models.timm_backbone import TimmArchitecture, TimmBackbone

__all__ = [
    "ALIASES",
    "TimmArchitecture",
    "TimmBackbone",
    "count_flops",
    "flops",
    "knows",
    "names",
    "parameters",
    "resolve",
]
