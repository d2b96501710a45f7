"""Answers to lab 13's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

from torch.nn import functional as F


def kl(p, q, dim=2):
    return (p.softmax(dim) * (p.log_softmax(dim) - q.log_softmax(dim))).sum(2)


def on_policy(text, prompt, write, student, teacher, loss, late=0, start=True, own=True):
    new = write(text[:, :prompt], text.shape[1] - prompt)
    read = new if own else text
    first = prompt - 1 + late if start else 0
    return loss(student(read)[:, first:], teacher(read)[:, first:])


RIGHT = {
    "13.forward_kl": [
        lambda s, t: kl(t.detach(), s).mean(),
        lambda s, t: F.kl_div(
            s.log_softmax(2).flatten(0, 1), t.detach().softmax(2).flatten(0, 1), reduction="batchmean"
        ),
    ],
    "13.reverse_kl": [lambda s, t: kl(s, t.detach()).mean()],
    "13.on_policy_loss": [on_policy],
}
WRONG = {
    "13.forward_kl": {
        "KL the other way round": lambda s, t: kl(s, t.detach()).mean(),
        "a mean over the vocabulary": lambda s, t: F.kl_div(s.log_softmax(2), t.detach().softmax(2)),
        "divided by the texts": lambda s, t: F.kl_div(s.log_softmax(2), t.detach().softmax(2), reduction="batchmean"),
        "softmax over the wrong dimension": lambda s, t: kl(t.detach(), s, dim=1).mean(),
    },
    "13.reverse_kl": {
        "the forward KL": lambda s, t: kl(t.detach(), s).mean(),
        "the student's weights detached": lambda s, t: (
            (s.detach().softmax(2) * (s.log_softmax(2) - t.detach().log_softmax(2))).sum(2).mean()
        ),
        "a mean over the vocabulary": lambda s, t: (
            s.softmax(2) * (s.log_softmax(2) - t.detach().log_softmax(2))
        ).mean(),
    },
    "13.on_policy_loss": {
        "the given text is compared": lambda *given: on_policy(*given, own=False),
        "the prompt counts too": lambda *given: on_policy(*given, start=False),
        "one position late": lambda *given: on_policy(*given, late=1),
    },
}
