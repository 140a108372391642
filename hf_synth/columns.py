"""Arrow columns of labels by name, and the same as class ids."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Features, LargeList, List


def named_schema(features: Features) -> pa.Schema:
    """Return the schema of rows whose labels stand by name, not by class id."""
    return pa.schema([(name, _named(feature)) for name, feature in features.items()])


def with_ids(table: pa.Table, features: Features) -> pa.Table:
    """Return a table of labels by name with class ids in their place, as the features have them."""
    columns = [_ids(table[name].combine_chunks(), feature) for name, feature in features.items()]
    return pa.Table.from_arrays(columns, names=list(features)).cast(features.arrow_schema)


def class_names(feature: Any) -> list[str]:
    """Return the names of a column of labels, or of lists of them; none where it holds no class ids."""
    return getattr(getattr(feature, "feature", feature), "names", [])


def names_of(values: Any, feature: Any) -> Any:
    """Return what a row of a data set holds with names in place of class ids; `None` for a label below 0."""
    if isinstance(feature, ClassLabel):
        return None if values is None or values < 0 else feature.int2str(values)
    if isinstance(feature, List | LargeList) and values is not None:
        return [names_of(value, feature.feature) for value in values]
    return values


def ids_of(value: Any, feature: Any) -> Any:
    """Return what `names_of` takes back: class ids in place of names."""
    if isinstance(feature, ClassLabel):
        return feature.str2int(value)
    if isinstance(feature, List):
        return [ids_of(own, feature.feature) for own in value]
    return value


def _named(feature: Any) -> pa.DataType:
    if isinstance(feature, ClassLabel):
        return pa.string()
    if isinstance(feature, List):
        return pa.list_(_named(feature.feature))
    if isinstance(feature, dict):
        return pa.struct([(name, _named(own)) for name, own in feature.items()])
    return feature()


def _ids(array: pa.Array, feature: Any) -> pa.Array:
    if isinstance(feature, ClassLabel):
        return pc.index_in(array, value_set=pa.array(feature.names)).cast(pa.int64())
    if isinstance(feature, List) and isinstance(feature.feature, (ClassLabel, List)):
        return pa.ListArray.from_arrays(array.offsets, _ids(array.values, feature.feature))
    return array
