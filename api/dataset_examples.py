"""Examples of uploads and of the rows that come back, from the sample data."""

from __future__ import annotations

from typing import Any

_CSV = 'text,label\n"Hello, does the e-reader support library loans and Polish dictionaries?",product_question\n'
_CONLL = "Tracking O\nfor O\n#18135 B-ORDER\nhasn't O\nmoved O\n"
_PAIRS = "text,text_pair,label\nIs there a student discount?,My air fryer smokes while cooking.,different\n"

UPLOAD_EXAMPLES: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "examples": {
                    "classification": {
                        "summary": "A label for each text",
                        "value": {"task": "classification", "name": "support-intent", "file": _CSV},
                    },
                    "tagging": {
                        "summary": "A tag for each word",
                        "value": {"task": "tagging", "name": "support-entities", "file": _CONLL},
                    },
                    "similarity": {
                        "summary": "A label for each pair of texts",
                        "value": {"task": "similarity", "name": "duplicate-questions", "file": _PAIRS},
                    },
                    "other columns": {
                        "summary": "Columns with names of your own; wrong rows are left out",
                        "value": {
                            "task": "classification",
                            "file": _CSV.replace("text,label", "message,intent"),
                            "columns": '{"text": "message", "label": "intent"}',
                            "on_error": "skip",
                        },
                    },
                }
            }
        }
    }
}

PREVIEW_EXAMPLES: dict[str, Any] = {
    "classification": {
        "value": {
            "object": "list",
            "data": [
                {
                    "text": "Hello, does the e-reader support library loans and Polish dictionaries?",
                    "label": "product_question",
                }
            ],
            "has_more": True,
        }
    },
    "tagging": {
        "value": {
            "object": "list",
            "data": [
                {
                    "tokens": ["Tracking", "for", "#18135", "hasn't", "moved"],
                    "tags": ["O", "O", "B-ORDER", "O", "O"],
                    "text": "Tracking for #18135 hasn't moved",
                    "entities": [{"label": "ORDER", "start": 13, "end": 19, "text": "#18135"}],
                }
            ],
            "has_more": True,
        }
    },
}

EXPORT_EXAMPLE: dict[str, Any] = {"schema": {"type": "string"}, "example": _CSV}
