"""The Python client of Thawline: upload labelled text, train, ask the model. It needs httpx and nothing else.

import thawline

with thawline.Client() as client:
    client.train("train.csv", task="classification", model="support-intent").wait(progress=True)
    print(client.model("support-intent").predict("Where is my parcel?").label)
"""

from thawline.asking import Retries
from thawline.client import AsyncClient, Client
from thawline.errors import (
    ConfigurationError,
    Conflict,
    Error,
    InvalidData,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    NotAllowed,
    NotFound,
    PredictionFailed,
    Refused,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from thawline.files import AsyncFilePrediction, FilePrediction
from thawline.frames import to_pandas
from thawline.jobs import AsyncJob, Job
from thawline.models import AsyncModel, Model
from thawline.predicting import Prediction, Predictions
from thawline.records import Alias, Dataset, Event, Failure, Metrics, ModelInfo, Problem, Progress, Validation, Version

__all__ = [
    "Alias",
    "AsyncClient",
    "AsyncFilePrediction",
    "AsyncJob",
    "AsyncModel",
    "Client",
    "ConfigurationError",
    "Conflict",
    "Dataset",
    "Error",
    "Event",
    "Failure",
    "FilePrediction",
    "InvalidData",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Metrics",
    "Model",
    "ModelInfo",
    "NotAllowed",
    "NotFound",
    "Prediction",
    "PredictionFailed",
    "Predictions",
    "Problem",
    "Progress",
    "Refused",
    "Retries",
    "Unavailable",
    "UnexpectedAnswer",
    "Validation",
    "Version",
    "WaitTimeout",
    "to_pandas",
]
