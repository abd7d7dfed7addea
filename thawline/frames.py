"""Records as pandas frames. pandas is imported when it is asked for, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from thawline.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas


def to_pandas(records: Iterable[Any]) -> pandas.DataFrame:
    """A frame with a row for each record; what is nested becomes columns such as ``progress.fraction``.

    Args:
        records: Whatever the client hands out (jobs, versions, events, problems…), or plain dictionaries; or one.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    if isinstance(records, Mapping) or hasattr(records, "raw"):
        records = [records]
    return pandas_module().json_normalize([_row(record) for record in records])


def pandas_module() -> Any:
    """The module pandas.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigurationError("to_pandas() needs pandas: pip install pandas") from error
    return pandas


def _row(record: Any) -> dict[str, Any]:
    return dict(record if isinstance(record, Mapping) else record.raw)
