"""What the OpenAPI document says of `/predictions`, by operation id: summaries, parameters, examples."""

from __future__ import annotations

from typing import Any

_FILE = "text\nWhere is my parcel?\nThe display stays black.\n"
_ANSWERS = (
    "text,predicted_label,predicted_score,predicted_labels,prediction_error\n"
    "Where is my parcel?,order_status,0.9871,,\n"
    "The display stays black.,technical_problem,0.9912,,\n"
)

ADDITIONS: dict[str, dict[str, Any]] = {
    "createPrediction": {
        "summary": "Have a whole file answered",
        "requestBody": {
            "content": {
                "multipart/form-data": {
                    "examples": {
                        "csv": {"summary": "A text a row", "value": {"model": "support-intent", "file": _FILE}},
                    }
                }
            }
        },
    },
    "listPredictions": {"summary": "List files that are answered"},
    "getPrediction": {"summary": "Show how far a file is"},
    "downloadPrediction": {
        "summary": "Download the answers",
        "responses": {"200": {"content": {"text/plain": {"schema": {"type": "string"}, "example": _ANSWERS}}}},
    },
    "cancelPrediction": {"summary": "Stop answering a file"},
    "deletePrediction": {"summary": "Delete a file and its answers"},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "prediction_id": {"description": "Of the file", "example": "pred_01m8er5v3h6w6s1ndv6v2m4q1a"},
    "model": {"description": "Only those that this model answers", "example": "support-intent"},
}
