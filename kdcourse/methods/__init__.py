"""Every method of the course: objectives for the one training loop, which add and scale like losses."""

from kdcourse.methods.base import Batch, HardTarget, Method, WeightedSum
from kdcourse.methods.feature import (
    ActivationBoundary,
    AttentionTransfer,
    AuxiliaryLogits,
    GradientAttention,
    HiddenCosine,
    Hint,
    JacobianMatching,
    NeuronSelectivity,
    VariationalInformation,
    WeightTransfer,
)
from kdcourse.methods.language import NextToken, OnPolicy, TokenDivergence, TopK, UniversalLogit
from kdcourse.methods.relation import (
    Contrastive,
    CorrelationCongruence,
    Flow,
    ProbabilisticTransfer,
    RelationalAngle,
    RelationalDistance,
    SimilarityPreserving,
)
from kdcourse.methods.response import (
    Correlation,
    Decoupled,
    Distillation,
    LabelSmoothing,
    LogitMSE,
    MultiLabel,
    SoftTarget,
    StandardizedSoftTarget,
)
