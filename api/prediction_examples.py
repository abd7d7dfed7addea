"""Examples of a file to be answered and of its answers."""

from __future__ import annotations

from typing import Any

FILE_EXAMPLES: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "examples": {
                    "csv": {
                        "summary": "A text a row",
                        "value": {
                            "model": "support-intent",
                            "file": "text\nWhere is my parcel?\nThe display stays black.\n",
                        },
                    },
                }
            }
        }
    }
}

ANSWERS_EXAMPLE: dict[str, Any] = {
    "schema": {"type": "string"},
    "example": "text,predicted_label,predicted_score,predicted_labels,prediction_error\n"
    "Where is my parcel?,order_status,0.9871,,\n"
    "The display stays black.,technical_problem,0.9912,,\n",
}
