"""Values that are stored as JSON, checked before any work is done."""

from __future__ import annotations

import json
from typing import Any


def require_json(value: Any, name: str) -> Any:
    """Return `value` as JSON would give it back.

    Raises:
        ValueError: if it holds NaN, an infinity, or something that JSON has no form for, such as an array.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The {name} must be plain JSON (text, finite numbers, true, false, lists, dicts): {error}."
        ) from error
