"""The exercises of lab 13, Distil a language model."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, gradients


def _draw(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _token(answer):
    return gradients(answer, [(_draw(0, 2, 3, 5), _draw(1, 2, 3, 5))])


@define(
    "13.forward_kl",
    goal="KL(teacher ‖ student) at every token, summed over the vocabulary, mean over tokens. Logits are (N, L, V).",
    difficulty="easy",
    minutes="five minutes",
    hints=("log_softmax along the last dimension, for both.",
           "The sum over V is a token's divergence; the mean runs over N · L tokens.",
           "(p.exp() * (p − q)).sum(2).mean(), p being the teacher's log-probabilities, detached."),
    probe=_token,
)  # fmt: skip
def forward_kl(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=2), teacher_logits.detach().log_softmax(dim=2)
    return (log_p.exp() * (log_p - log_q)).sum(dim=2).mean()


@forward_kl.mistake("KL the other way round", "That is the reverse KL, which seeks one mode. It comes next.")
def _swapped(student_logits, teacher_logits):
    return reverse_kl(student_logits, teacher_logits)


@forward_kl.mistake(
    "a mean over the vocabulary", "Divided by V as well: sum over the vocabulary first, then mean over tokens."
)
def _over_vocabulary(student_logits, teacher_logits):
    return forward_kl(student_logits, teacher_logits) / student_logits.shape[2]


@forward_kl.mistake("divided by the texts", "reduction='batchmean' divides by N only: a longer text would weigh more.")
def _batchmean(student_logits, teacher_logits):
    return forward_kl(student_logits, teacher_logits) * student_logits.shape[1]


@forward_kl.mistake(
    "softmax over the wrong dimension", "Dimension 1 runs along the text: the vocabulary is dimension 2."
)
def _along_the_text(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=1), teacher_logits.detach().log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=2).mean()


@define(
    "13.reverse_kl",
    goal="KL(student ‖ teacher) at every token, summed over the vocabulary, mean over tokens; no gradient to the teacher.",
    difficulty="easy",
    minutes="four minutes",
    hints=("The weights are now the student's own probabilities, and gradients flow through them too.",
           "(q.exp() * (q − p)).sum(2).mean(), with log-probabilities q and p."),
    probe=_token,
)  # fmt: skip
def reverse_kl(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=2), teacher_logits.detach().log_softmax(dim=2)
    return (log_q.exp() * (log_q - log_p)).sum(dim=2).mean()


@reverse_kl.mistake("the forward KL", "Here the student's probabilities are the weights.")
def _forward(student_logits, teacher_logits):
    return forward_kl(student_logits, teacher_logits)


@reverse_kl.mistake(
    "the student's weights detached", "The student moves its weights as well: without that gradient it is another loss."
)
def _half_detached(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=2), teacher_logits.detach().log_softmax(dim=2)
    return (log_q.exp().detach() * (log_q - log_p)).sum(dim=2).mean()


@reverse_kl.mistake("a mean over the vocabulary", "Divided by V as well: sum over the vocabulary first.")
def _reverse_over_vocabulary(student_logits, teacher_logits):
    return reverse_kl(student_logits, teacher_logits) / student_logits.shape[2]


def _step(answer) -> dict[str, object]:
    """One on-policy step on a toy whose writer only ever writes the character 7."""
    read, compared = {"student": [0], "teacher": [0], "written": [0]}, [(0, 0)]

    def write(prompts, length):
        read["written"] = [len(prompts) * length]
        return torch.cat([prompts, prompts.new_full((len(prompts), length), 7)], dim=1)

    def network(name):
        def logits(text):
            read[name].append(int((text == 7).sum()))
            return F.one_hot(text % 5, 5).float() * (1 if name == "teacher" else 2)

        return logits

    def loss(student, teacher):
        compared.append((student.shape[1], teacher.shape[1]))
        return (student - teacher).square().mean() + student[:, 0].sum()

    value = filled(answer(torch.arange(12).view(2, 6) % 5, 2, write, network("student"), network("teacher"), loss))
    return {
        "number of characters that the student wrote": torch.tensor(read["written"]),
        "number of those that the student reads": torch.tensor(read["student"][-1]),
        "number of those that the teacher reads": torch.tensor(read["teacher"][-1]),
        "number of positions compared": torch.tensor(compared[-1]),
        "loss": value,
    }


@define(
    "13.on_policy_loss",
    goal="One step on the student's own text: keep the first `prompt` characters, let the student write to the text's "
    "length, and compare both networks' logits on what it wrote, from the last given character on.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("write(prompts, length) gives (N, prompt + length): the student's text.",
           "Both networks read the written text; the given one has done its part.",
           "Logits at position i foretell character i + 1: the first character written is foretold at prompt − 1."),
    probe=_step,
)  # fmt: skip
def on_policy_loss(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, prompt - 1 :], teacher(written)[:, prompt - 1 :])


@on_policy_loss.mistake(
    "the given text is compared", "That is what the student was never to write: compare on its own text."
)
def _off_policy(text, prompt, write, student, teacher, loss):
    write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(text)[:, prompt - 1 :], teacher(text)[:, prompt - 1 :])


@on_policy_loss.mistake("the prompt counts too", "The prompt was given, not written: leave its positions out.")
def _with_prompt(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written), teacher(written))


@on_policy_loss.mistake(
    "one position late", "Position i foretells character i + 1, so the first written character is judged at prompt − 1."
)
def _late(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, prompt:], teacher(written)[:, prompt:])
