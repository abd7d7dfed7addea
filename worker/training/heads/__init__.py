"""The heads. A change that only concerns hidden states → logits belongs here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models_store.specs import HeadName
from models_store.tasks import TaskName
from worker.training.heads.base import Head, Needs, Reads
from worker.training.heads.bilstm import BiLstmHead
from worker.training.heads.bimpm import BimpmHead, BimpmLiteHead, SimTransformerHead
from worker.training.heads.crf import BiLstmCrfHead, Crf, CrfHead
from worker.training.heads.dense_cnn import DenseCnnHead
from worker.training.heads.highway_lstm import HighwayLstmHead
from worker.training.heads.linear import LinearHead, TokenLinearHead
from worker.training.heads.siamese import SiameseHead

HeadFactory = Callable[[int, int, float], nn.Module]

HEADS: dict[tuple[TaskName, HeadName], HeadFactory] = {
    (TaskName.CLASSIFICATION, HeadName.LINEAR): LinearHead,
    (TaskName.CLASSIFICATION, HeadName.DENSE_CNN): DenseCnnHead,
    (TaskName.CLASSIFICATION, HeadName.HIGHWAY_LSTM): HighwayLstmHead,
    (TaskName.SIMILARITY, HeadName.LINEAR): LinearHead,
    (TaskName.SIMILARITY, HeadName.SIAMESE): SiameseHead,
    (TaskName.SIMILARITY, HeadName.BIMPM): BimpmHead,
    (TaskName.SIMILARITY, HeadName.BIMPM_LITE): BimpmLiteHead,
    (TaskName.SIMILARITY, HeadName.SIM_TRANSFORMER): SimTransformerHead,
    (TaskName.TAGGING, HeadName.LINEAR): TokenLinearHead,
    (TaskName.TAGGING, HeadName.BILSTM): BiLstmHead,
    (TaskName.TAGGING, HeadName.CRF): CrfHead,
    (TaskName.TAGGING, HeadName.BILSTM_CRF): BiLstmCrfHead,
}

__all__ = ["HEADS", "Crf", "Head", "HeadFactory", "Needs", "Reads"]
