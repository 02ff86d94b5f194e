"""Quality conditions."""

import numpy as np
import pyarrow as pa
import pytest

from lightloom.conditions import any_holds
from lightloom.errors import ArchiveSchemaError

TABLE = pa.table(
    {
        "flags": pa.array([0, 1, 32768, 32769, None], pa.int32()),
        "cc_flags": pa.array(["0000", "00pp", "d000", None, ""]),
        "qf": pa.array([0.99, 0.5, float("nan"), None, 1.0], pa.float32()),
    }
)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], [0, 0, 0, 0, 0]),
        ([["flags", "&", 32768]], [0, 0, 1, 1, 0]),
        ([["flags", "!=", 0]], [0, 1, 1, 1, 0]),
        ([["qf", "<", 0.9]], [0, 1, 0, 0, 0]),
        ([["qf", "!=", 1.0]], [1, 1, 0, 0, 0]),
        ([["cc_flags", "!~", "^00"]], [0, 0, 1, 0, 1]),
        ([["flags", "==", 0], ["qf", ">=", 1.0]], [1, 0, 0, 0, 1]),
    ],
)
def test_rows_for_which_a_condition_holds(conditions: list, expected: list[int]) -> None:
    np.testing.assert_array_equal(any_holds(TABLE, conditions), np.array(expected, bool))


def test_missing_columns_and_bits_of_floats_are_refused() -> None:
    with pytest.raises(ArchiveSchemaError, match=r"'catflags' .* found"):
        any_holds(TABLE, [["catflags", "==", 0]])
    with pytest.raises(ArchiveSchemaError, match="'qf' has type float, expected integers"):
        any_holds(TABLE, [["qf", "&", 1]])
    with pytest.raises(ArchiveSchemaError, match="'flags' has type int32, expected text"):
        any_holds(TABLE, [["flags", "!~", "^0"]])
