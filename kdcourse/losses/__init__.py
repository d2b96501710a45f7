"""Every loss of the course: pure functions of tensors, student first."""

from kdcourse.losses.feature import (
    Regressor,
    VariationalInformation,
    WeightProjector,
    activation_boundary,
    attention_map,
    attention_mse,
    attention_transfer,
    feature_gradient,
    gradient_attention,
    hidden_cosine,
    hint,
    jacobian,
    neuron_selectivity,
    weight,
)
from kdcourse.losses.language import generalized_jsd, top_k, top_k_kl, universal_logit
from kdcourse.losses.relation import (
    angles,
    contrastive,
    correlation_congruence,
    distances,
    flow,
    probabilistic_transfer,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from kdcourse.losses.response import (
    correlation,
    decoupled,
    distillation,
    ensemble_target,
    label_smoothing,
    logit_mse,
    multi_label,
    soft_target,
    standardized_soft_target,
)
