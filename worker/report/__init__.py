"""What a finished training tells of itself: `report.json` for programs and `README.md`, the model card, for people."""

from worker.report.build import analyse, build_report, write_report
from worker.report.history import History

__all__ = ["History", "analyse", "build_report", "write_report"]
