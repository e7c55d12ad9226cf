"""timm backbones: names, stems for small images, pretrained weights, and their cost in parameters and FLOPs."""

from fedbench_core.models.cost import count_flops, flops, parameters
from fedbench_core.models.naming import ALIASES, knows, names, resolve
from fedbench_core.models.statistics import pixel_statistics
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
    "pixel_statistics",
    "resolve",
]
