"""What the operands of a class of layers are, and how it computes from them: one file a kind of layers.

An entry names the operands (``Role``) of a layer and repeats its forward pass with each of them read through
``layer.eden_read(role, tensor)``; ``layer`` registers it. Everything else (buffers, ranges, addresses, calibration,
coverage, files) follows from the entry; docs/reference/layers.md says how to add one.
"""

from eden.faults.layers import (  # noqa: F401 - each registers its classes
    attention,
    convolution,
    embedding,
    feature_map,
    functions,
    key_value_cache,
    linear,
    normalization,
    recurrent,
    sparse,
)
from eden.faults.layers.registry import (
    LAYERS,
    OTHERS,
    PARTS,
    LayerClass,
    Role,
    base_of,
    entry,
    layer,
    layer_class,
    stored,
)

__all__ = ["LAYERS", "OTHERS", "PARTS", "LayerClass", "Role", "base_of", "entry", "layer", "layer_class", "stored"]
