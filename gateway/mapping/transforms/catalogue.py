"""Every transform by name."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.mapping.transforms import codes, contact, dates, ids, names, pick, text
from gateway.mapping.transforms.shape import Transform

TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        transform.name: transform
        for room in (text, pick, dates, names, codes, ids, contact)
        for transform in room.TRANSFORMS
    }
)
