"""Which caches of Transformers keep every token's key and value where it was written."""

from __future__ import annotations

from typing import Any

from torch import nn

from eden.common.torch_internals import outside_of_graphs


def check_caches(reader: nn.Module, names: tuple[str, ...], given: tuple[Any, ...]) -> None:
    """Raise ValueError for a cache whose entries are not at their positions, or are not what attention reads.

    Args:
        reader: a module that computes attention, with Transformers' ``layer_idx``.
        names: its operands that a cache holds.
        given: the arguments of its ``forward``, caches among them.
    """
    index = getattr(reader, "layer_idx", None)
    if not isinstance(index, int):
        return
    for argument in given:
        for cache in (argument, getattr(argument, "self_attention_cache", None)):
            layers = getattr(cache, "layers", None)
            if not isinstance(layers, list) or index >= len(layers):
                continue
            held = layers[index]
            if hasattr(held, "_dequantize"):
                _refuse(names, held, "keeps codes of its own, which are not what memory holds under faults")
            if getattr(held, "is_sliding", False) and held.get_seq_length() >= _window(held):
                _refuse(names, held, f"moves its tokens once they are {_window(held)} or more")


def _window(held: Any) -> int:
    length = getattr(held, "get_max_length", None) or held.get_max_cache_shape  # in earlier versions
    return int(length())


# Outside of graphs: an exception that the compiler meets would keep it from compiling this module ever again.
@outside_of_graphs
def _refuse(names: tuple[str, ...], held: Any, what: str) -> None:
    raise ValueError(
        f"{', '.join(names)}: {type(held).__name__} {what}; allowed are caches that keep a token's key and value "
        "where they were written, such as DynamicCache and StaticCache of layers without a sliding window"
    )
