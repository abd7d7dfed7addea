"""The Python client of Thawline: upload labelled text, train, ask the model. It needs httpx and nothing else.

import thawline

with thawline.Client() as client:
    client.train("train.csv", task="classification", model="support-intent").wait(progress=True)
    print(client.model("support-intent").predict("Where is my parcel?").label)
"""

from thawline.asking import Retries
from thawline.client import AsyncClient, Client
from thawline.datasets import UploadOptions
from thawline.displays import Display, FileDisplay
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
from thawline.listings import AsyncListing, Listing
from thawline.models import AsyncModel, Model, PredictOptions
from thawline.predicting import Entity, LabelScore, Prediction, Predictions, Token
from thawline.records import (
    Alias,
    Canary,
    Dataset,
    DataWarning,
    Event,
    Failure,
    LabelCount,
    Metrics,
    ModelInfo,
    Problem,
    Progress,
    Split,
    Validation,
    Version,
)

__all__ = [
    "Alias",
    "AsyncClient",
    "AsyncFilePrediction",
    "AsyncJob",
    "AsyncListing",
    "AsyncModel",
    "Canary",
    "Client",
    "ConfigurationError",
    "Conflict",
    "DataWarning",
    "Dataset",
    "Display",
    "Entity",
    "Error",
    "Event",
    "Failure",
    "FileDisplay",
    "FilePrediction",
    "InvalidData",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "LabelCount",
    "LabelScore",
    "Listing",
    "Metrics",
    "Model",
    "ModelInfo",
    "NotAllowed",
    "NotFound",
    "PredictOptions",
    "Prediction",
    "PredictionFailed",
    "Predictions",
    "Problem",
    "Progress",
    "Refused",
    "Retries",
    "Split",
    "Token",
    "Unavailable",
    "UnexpectedAnswer",
    "UploadOptions",
    "Validation",
    "Version",
    "WaitTimeout",
    "to_pandas",
]
