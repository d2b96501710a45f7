"""Methods for language models: at every token of a text, the whole distribution over what comes next.

Logits are (N, L, V) for N texts of L tokens and V possible next tokens; labels are the tokens that follow, (N, L).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import check_share, check_temperature
from kdcourse.losses.language import generalized_jsd, top_k, top_k_kl, universal_logit
from kdcourse.methods.base import Batch, Method
from kdcourse.system.arguments import whole_number


class NextToken(Method):
    """The text alone: cross-entropy with the token that follows, mean over all tokens that count, in nats. No teacher is asked.

    given: tokens that each text begins with and that the student need not foretell, such as a question; default 1, as nothing
    stands before the first. Raises `ValueError` below 1, and where nothing is left to foretell.
    """

    needs_teacher, needs_labels = False, True

    def __init__(self, given: int = 1):
        super().__init__()
        self.given = whole_number("given", given)

    def forward(self, batch: Batch) -> Tensor:
        if self.given > batch.labels.shape[1]:
            raise ValueError(
                f"given must leave a token to foretell, got {self.given} for texts of {batch.labels.shape[1] + 1}"
            )
        logits, labels = (
            answers[:, self.given - 1 :].flatten(0, 1) for answers in (batch.student_logits, batch.labels)
        )
        return F.cross_entropy(logits, labels)

    def extra_repr(self) -> str:
        return "" if self.given == 1 else f"given={self.given}"


class TokenDivergence(Method):
    """The teacher's distribution at each token of the given text. Loss: `losses.generalized_jsd`, in nats.

    beta: from 0 to 1; 0 is the forward KL (default), 1 the reverse KL, and between lie Jensen-Shannon divergences.
    temperature: T > 0, default 1. Raises `ValueError` for other values. Source: Agarwal et al. (2024), §2.
    """

    def __init__(self, beta: float = 0.0, temperature: float = 1.0):
        super().__init__()
        check_share("beta", beta)
        check_temperature(temperature)
        self.beta, self.temperature = beta, temperature

    def forward(self, batch: Batch) -> Tensor:
        return self.divergence(batch.student_logits, batch.teacher_logits)

    def divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        return generalized_jsd(student, teacher, beta=self.beta, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, temperature={self.temperature}"


class TopK(Method):
    """`losses.top_k_kl`: the teacher's k most likely tokens at each place, as a file would keep them. others: see there."""

    def __init__(self, k: int = 4, others: bool = True):
        super().__init__()
        self.k, self.others = whole_number("k", k), bool(others)

    def forward(self, batch: Batch) -> Tensor:
        return top_k_kl(batch.student_logits, *top_k(batch.teacher_logits, self.k), others=self.others)

    def extra_repr(self) -> str:
        return f"k={self.k}, others={self.others}"


class UniversalLogit(Method):
    """`losses.universal_logit`, for a teacher of another vocabulary; added to `NextToken`."""

    def forward(self, batch: Batch) -> Tensor:
        return universal_logit(batch.student_logits, batch.teacher_logits)


class OnPolicy(TokenDivergence):
    """The divergence on what the student writes itself, so that it learns where its own mistakes lead it.

    The first `prompt` tokens of each given text begin, the student goes on to the text's length, and the teacher says at each
    token what it would have written; no gradient flows through the drawing of tokens. The teacher is asked at each step.
    beta: default 1, the reverse KL. temperature: T > 0, default 1. prompt: at least 1 token, default 16, else `ValueError`.
    Source: Agarwal et al. (2024), *On-Policy Distillation of Language Models (GKD)*, algorithm 1 with λ = 1.
    """

    extra_passes = (4, 1)  # the student writes, about one pass, and learns from what it wrote; the teacher reads it

    def __init__(self, beta: float = 1.0, temperature: float = 1.0, prompt: int = 16):
        super().__init__(beta, temperature)
        if prompt < 1:
            raise ValueError(f"prompt must be at least 1 token, got {prompt}")
        self.prompt = prompt
        self._turn = 0

    def forward(self, batch: Batch) -> Tensor:
        given = batch.inputs
        self._turn += 1
        written = batch.student.write(given[:, : self.prompt], given.shape[1] - self.prompt, seed=self._turn)
        with torch.no_grad():
            teacher = batch.teacher(written)
        # What the first tokens are was given, not written.
        return self.divergence(batch.student(written)[:, self.prompt - 1 :], teacher[:, self.prompt - 1 :])

    def get_extra_state(self) -> Tensor:
        """How many batches it has drawn for: with it a resumed run goes on to the very same drawings."""
        return torch.tensor(self._turn)

    def set_extra_state(self, state: Tensor) -> None:
        self._turn = int(state)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, prompt={self.prompt}"
