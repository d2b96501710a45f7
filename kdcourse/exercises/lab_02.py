"""The exercises of lab 02, Turn up the temperature."""

import torch

from kdcourse.exercises.engine import define


def _logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _large() -> torch.Tensor:
    """Rows far from zero on either side, and one near it, which one row's maximum does not save from the others' size."""
    return torch.tensor([[1000.0, 990.0, -1000.0], [0.0, 1.0, 2.0], [-1000.0, -1004.0, -1001.0]])


@define(
    "02.softmax_with_temperature",
    goal="The softmax of logits divided by a temperature, by hand.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("Divide the logits by T before anything else.",
           "exp(1000) overflows. Subtracting a row's maximum from all its logits changes no probability.",
           "Classes are dim=1; keepdim=True keeps shapes fit for dividing."),
    cases=lambda: [(_logits(0, 5, 4), 1.0), (_logits(1, 3, 6), 4.0), (_large(), 2.0)],
    by_hand=("softmax", "special_softmax", "log_softmax"),
)  # fmt: skip
def softmax_with_temperature(logits, temperature):
    scaled = logits / temperature
    powers = (scaled - scaled.max(dim=1, keepdim=True).values).exp()
    return powers / powers.sum(dim=1, keepdim=True)


@softmax_with_temperature.mistake("multiplied by T", "A higher temperature must flatten: divide the logits by T.")
def _multiplied(logits, temperature):
    return (logits * temperature).softmax(dim=1)


@softmax_with_temperature.mistake(
    "temperature after the softmax", "Divide the logits, not the probabilities: rows must still sum to 1."
)
def _afterwards(logits, temperature):
    return logits.softmax(dim=1) / temperature


@softmax_with_temperature.mistake("the temperature is ignored", "Your result is the softmax at T = 1.")
def _ignored(logits, temperature):
    return logits.softmax(dim=1)


@softmax_with_temperature.mistake("softmax over the batch", "dim=0 compares pictures; classes are dim=1.")
def _over_batch(logits, temperature):
    return (logits / temperature).softmax(dim=0)


@softmax_with_temperature.mistake(
    "exp overflows", "exp(500) is infinite and inf/inf is NaN: subtract each row's maximum first."
)
def _overflowing(logits, temperature):
    powers = (logits / temperature).exp()
    return powers / powers.sum(dim=1, keepdim=True)


@softmax_with_temperature.mistake(
    "one maximum for the whole batch",
    "A row far below it becomes exp(−500) = 0 everywhere, and 0/0 is NaN: subtract each row's own maximum.",
)
def _one_maximum(logits, temperature):
    powers = ((logits - logits.max()) / temperature).exp()
    return powers / powers.sum(dim=1, keepdim=True)


@define(
    "02.entropy",
    goal="The entropy of each row, in nats.",
    difficulty="easy",
    minutes="four minutes",
    hints=("Minus the sum over classes of p log p.", "0 · log 0 counts as 0: torch.xlogy(p, p) knows that."),
    cases=lambda: [(_logits(2, 5, 4).softmax(1),), (torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]),)],
)
def entropy(probabilities):
    return -torch.xlogy(probabilities, probabilities).sum(dim=1)


@entropy.mistake(
    "zero times minus infinity", "log(0) is minus infinity and 0 · (−inf) is NaN: use torch.xlogy, or clamp first."
)
def _nan(probabilities):
    return -(probabilities * probabilities.log()).sum(dim=1)


@entropy.mistake("bits, not nats", "log2 counts in bits; here the natural logarithm is wanted.")
def _bits(probabilities):
    return -torch.xlogy(probabilities, probabilities).sum(dim=1) / torch.log(torch.tensor(2.0))


@entropy.mistake("the mean over classes", "Entropy is a sum over classes: yours is C times too small.")
def _mean(probabilities):
    return -torch.xlogy(probabilities, probabilities).mean(dim=1)


@entropy.mistake("the mean over the batch", "One value for each row is wanted: (N,).")
def _scalar(probabilities):
    return -torch.xlogy(probabilities, probabilities).sum(dim=1).mean()


@entropy.mistake("the minus sign is missing", "p log p is negative; entropy is not.")
def _no_minus(probabilities):
    return torch.xlogy(probabilities, probabilities).sum(dim=1)


@define(
    "02.soft_gradient",
    goal="The gradient of T² · KL(p ‖ q) with respect to the student's logits, mean over the batch, on paper and then in code.",
    difficulty="harder",
    minutes="ten minutes",
    hints=("For cross-entropy at T = 1 the gradient of one picture is q − p.",
           "The chain rule through z / T brings one factor 1/T; the loss carries T².",
           "T² / T = T, and the mean over N pictures divides by N."),
    cases=lambda: [(_logits(3, 5, 4), _logits(4, 5, 4), 4.0), (_logits(5, 2, 3), _logits(6, 2, 3), 0.5)],
    by_hand=("grad", "backward"),
)  # fmt: skip
def soft_gradient(student_logits, teacher_logits, temperature):
    q = (student_logits / temperature).softmax(dim=1)
    p = (teacher_logits / temperature).softmax(dim=1)
    return temperature * (q - p) / len(student_logits)


@soft_gradient.mistake(
    "the sign", "A student too sure of a class (q > p) must have that logit lowered: the gradient is q − p."
)
def _sign(student_logits, teacher_logits, temperature):
    return -soft_gradient(student_logits, teacher_logits, temperature)


@soft_gradient.mistake("the factor T is missing", "T² from the loss and 1/T from the chain rule leave T.")
def _no_factor(student_logits, teacher_logits, temperature):
    return soft_gradient(student_logits, teacher_logits, temperature) / temperature


@soft_gradient.mistake("T² in place of T", "The chain rule through z / T takes one T away.")
def _squared(student_logits, teacher_logits, temperature):
    return soft_gradient(student_logits, teacher_logits, temperature) * temperature


@soft_gradient.mistake("T² left out of the loss", "Yours is the gradient of the KL alone: multiply by T².")
def _inverse(student_logits, teacher_logits, temperature):
    return soft_gradient(student_logits, teacher_logits, temperature) / temperature**2


@soft_gradient.mistake("the mean over the batch is missing", "The loss is a mean over N pictures: divide by N.")
def _no_mean(student_logits, teacher_logits, temperature):
    return soft_gradient(student_logits, teacher_logits, temperature) * len(student_logits)


@soft_gradient.mistake("the mean over classes too", "The loss is a sum over classes: divide by N alone.")
def _over_classes(student_logits, teacher_logits, temperature):
    return soft_gradient(student_logits, teacher_logits, temperature) / student_logits.shape[1]


@soft_gradient.mistake(
    "probabilities at T = 1", "The loss compares softened probabilities: divide the logits by T first."
)
def _not_softened(student_logits, teacher_logits, temperature):
    return temperature * (student_logits.softmax(dim=1) - teacher_logits.softmax(dim=1)) / len(student_logits)
