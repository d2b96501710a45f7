"""The exercises of lab 13, Distil a language model."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, gradients, several


def _draw(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _token(answer):
    return gradients(answer, [(_draw(0, 2, 3, 5), _draw(1, 2, 3, 5)), (_draw(2, 3, 2, 4), _draw(3, 3, 2, 4))])


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


@forward_kl.mistake("the teacher is not detached", "The teacher stays as it is: teacher_logits.detach().")
def _teacher_moves(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=2), teacher_logits.log_softmax(dim=2)
    return (log_p.exp() * (log_p - log_q)).sum(dim=2).mean()


@forward_kl.mistake("KL on raw logits", "F.kl_div wants log-probabilities and probabilities: logits are neither.")
def _raw(student_logits, teacher_logits):
    return F.kl_div(student_logits, teacher_logits.detach(), reduction="none").sum(dim=2).mean()


@forward_kl.mistake("the student's logits are raw", "F.kl_div wants the student's log-probabilities: log_softmax.")
def _raw_student(student_logits, teacher_logits):
    return F.kl_div(student_logits, teacher_logits.detach().softmax(dim=2), reduction="none").sum(dim=2).mean()


@forward_kl.mistake("softmax twice", "What comes out of a softmax are no logits: give both networks' own logits.")
def _twice(student_logits, teacher_logits):
    return forward_kl(student_logits.softmax(dim=2), teacher_logits.softmax(dim=2))


@forward_kl.mistake("cross-entropy in place of KL", "Same gradient, but not zero where the two agree.")
def _cross_entropy(student_logits, teacher_logits):
    p = teacher_logits.detach().softmax(dim=2)
    return -(p * student_logits.log_softmax(dim=2)).sum(dim=2).mean()


@reverse_kl.mistake("the teacher is not detached", "The teacher stays as it is: teacher_logits.detach().")
def _reverse_teacher_moves(student_logits, teacher_logits):
    log_q, log_p = student_logits.log_softmax(dim=2), teacher_logits.log_softmax(dim=2)
    return (log_q.exp() * (log_q - log_p)).sum(dim=2).mean()


for _card in (forward_kl, reverse_kl):

    @_card.mistake("the sum over tokens", "A longer text would weigh more: take the mean over tokens.")
    def _over_tokens(student_logits, teacher_logits, card=_card):
        return card(student_logits, teacher_logits) * student_logits.shape[:2].numel()

    @_card.mistake("not averaged", "One number is wanted: the mean over tokens at the end.")
    def _each_token(student_logits, teacher_logits, card=_card):
        pairs = zip(student_logits.flatten(0, 1), teacher_logits.flatten(0, 1), strict=True)
        return torch.stack([card(s[None, None], t[None, None]) for s, t in pairs]).view(student_logits.shape[:2])


def _toy_network(read: list[torch.Tensor], scale: float):
    """Its logits tell their position, and `read` keeps what it was given."""

    def logits(text):
        read.append(text)
        return scale * F.one_hot(text % 5, 5).float() + 100 * torch.arange(text.shape[1], device=text.device)[:, None]

    return logits


def _step(answer) -> dict[str, object]:
    """One on-policy step on a toy whose writer only ever writes the character 7; the texts together or one by one.

    The last position predicts a character that nobody wrote: whoever leaves it out is as right.
    """
    text, written, read, compared = torch.arange(14).view(2, 7) % 5, [], ([], []), (set(), set())

    def write(prompts, length):
        written.append(len(prompts) * length)
        return torch.cat([prompts, prompts.new_full((len(prompts), length), 7)], dim=1)

    def loss(*sides):
        for known, side in zip(compared, sides, strict=True):
            known.update((side.reshape(-1, 5).amin(dim=1) / 100).int().tolist())
        return (sides[0] - sides[1]).square().mean() + sides[0][:, 0].sum() / len(sides[0])

    networks = [_toy_network(texts, scale) for texts, scale in zip(read, (2, 1), strict=True)]
    value = filled(answer(text, 3, write, *networks, loss))
    last = text.shape[1] - 1
    reached = [known | {last} if last - 1 in known else known for known in compared]
    shares = [torch.cat([one.flatten() for one in texts] or [text.flatten()]).eq(7).float().mean() for texts in read]
    return {
        "number of characters that the student wrote": torch.tensor(sum(written)),
        "share of what the student reads that it wrote": shares[0],
        "share of what the teacher reads that the student wrote": shares[1],
        "first position compared": torch.tensor([min(known, default=-1) for known in compared]),
        "positions compared": torch.tensor([[place in known for place in range(2 * last)] for known in reached]),
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
           "Logits at position i predict character i + 1: the first character written is predicted at prompt − 1."),
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
    "one position late", "Position i predicts character i + 1, so the first written character is judged at prompt − 1."
)
def _late(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, prompt:], teacher(written)[:, prompt:])


@on_policy_loss.mistake(
    "one position early", "That is a given character: the first that was written is judged at prompt − 1."
)
def _early(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, prompt - 2 :], teacher(written)[:, prompt - 2 :])


@on_policy_loss.mistake("the last position only", "Every character that was written is judged, from prompt − 1 on.")
def _last_only(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, -1:], teacher(written)[:, -1:])


@on_policy_loss.mistake(
    "the teacher reads the given text", "The two must judge the same text: the one that was written."
)
def _two_texts(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(written)[:, prompt - 1 :], teacher(text)[:, prompt - 1 :])


@on_policy_loss.mistake(
    "the student writes too much", "`length` counts what is written: the text's length less the prompt."
)
def _too_long(text, prompt, write, student, teacher, loss):
    written = write(text[:, :prompt], text.shape[1])
    return loss(student(written)[:, prompt - 1 :], teacher(written)[:, prompt - 1 :])


@on_policy_loss.mistake(
    "the whole text is given", "Then the student continues what it was to write: give text[:, :prompt]."
)
def _all_given(text, prompt, write, student, teacher, loss):
    written = write(text, text.shape[1] - prompt)
    return loss(student(written)[:, prompt - 1 :], teacher(written)[:, prompt - 1 :])


def _chosen(answer) -> dict[str, object]:
    """Traces whose first, second, several and no draw ends right; one ends right by luck, one begins with its answer."""
    traces = torch.tensor(
        [
            [[1, 2, 3], [4, 4, 0], [2, 1, 1], [3, 0, 2]],
            [[1, 0, 3], [4, 1, 1], [2, 2, 4], [3, 3, 0]],
            [[0, 2, 3], [0, 4, 1], [4, 1, 2], [1, 1, 2]],
        ]
    )
    answers = torch.tensor([3, 1, 0, 2])
    return {
        "kept traces": filled(answer(traces.clone(), answers.clone())),
        "kept traces of three problems": filled(answer(traces[:2, :3].clone(), answers[:3].clone())),
    }


@define(
    "13.right_traces",
    goal="Rejection sampling. traces (m, N, S) are what a teacher wrote m times for each of N problems; a trace's last character "
    "is its answer, and answers (N,) are the right ones. Return for each problem the first trace that ends right, (K, S), in "
    "the problems' order; a problem without one is left out.",
    difficulty="easy",
    minutes="five minutes",
    hints=("right = traces[:, :, -1] == answers is a table (m, N) of what ends right.",
           "The place of the first True along dimension 0 is right.int().argmax(dim=0); where there is none, it is 0 as well.",
           "traces[first, torch.arange(N)] has one trace for each problem; right.any(dim=0) says which of them to keep."),
    probe=_chosen,
)  # fmt: skip
def right_traces(traces, answers):
    right = traces[:, :, -1] == answers
    first = right.int().argmax(dim=0)
    return traces[first, torch.arange(len(answers), device=traces.device)][right.any(dim=0)]


@right_traces.mistake(
    "a problem without a right one is kept",
    "Where no trace ends right, argmax gives 0, a wrong one: leave the problem out.",
)
def _traces_kept(traces, answers):
    first = (traces[:, :, -1] == answers).int().argmax(dim=0)
    return traces[first, torch.arange(len(answers), device=traces.device)]


@right_traces.mistake("all that end right", "Easy problems would count up to m times: keep one trace for each problem.")
def _traces_all(traces, answers):
    return traces[traces[:, :, -1] == answers]


@right_traces.mistake("the first draw only", "The other draws are there for the problems whose first trace ends wrong.")
def _traces_first(traces, answers):
    return right_traces(traces[:1], answers)


@right_traces.mistake("the last that ends right", "Any that ends right would do; so that runs agree, keep the first.")
def _traces_last(traces, answers):
    return right_traces(traces.flip(0), answers)


@right_traces.mistake("those that end wrong", "Kept are traces whose last character is the answer: ==.")
def _traces_wrong(traces, answers):
    wrong = traces[:, :, -1] != answers
    return traces[wrong.int().argmax(dim=0), torch.arange(len(answers), device=traces.device)][wrong.any(dim=0)]


@right_traces.mistake(
    "the first character is compared", "A trace begins with its first step and ends with the answer: -1."
)
def _traces_begin(traces, answers):
    right = traces[:, :, 0] == answers
    return traces[right.int().argmax(dim=0), torch.arange(len(answers), device=traces.device)][right.any(dim=0)]


def _judged(answer) -> dict[str, object]:
    """Proposals that are surely kept, perhaps kept and surely refused, by two teachers and two drafts."""
    p = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.0, 0.2, 0.2, 0.6]])
    q = torch.tensor([[0.2, 0.6, 0.1, 0.1], [0.4, 0.1, 0.3, 0.2]])
    found = {}
    for ours, theirs in zip(q, p, strict=True):
        for proposal in range(4):
            chance, rest = several(answer(theirs.clone(), ours.clone(), proposal))
            case = f"token {proposal}, teacher {theirs.tolist()}, draft {ours.tolist()}"
            found[f"chance of {case}"], found[f"drawn instead of {case}"] = (
                torch.as_tensor(chance),
                torch.as_tensor(rest),
            )
    return found


@define(
    "13.accept",
    goal="The rule of speculative decoding. p and q are the teacher's and the draft's probabilities (V,) of the next token; "
    "`proposal` was drawn from q. Return the chance that it is kept, and the distribution (V,) that another token is drawn "
    "from when it is not, so that what comes out has the teacher's probabilities.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Kept too often is what the draft gives more than the teacher: there the chance is p / q, elsewhere 1.",
           "Kept tokens bring min(p, q) of each. What is missing to p is p − q, where p is the larger.",
           "rest = (p - q).clamp(min=0), divided by its sum; the chance is (p[proposal] / q[proposal]).clamp(max=1)."),
    probe=_judged,
)  # fmt: skip
def accept(p, q, proposal):
    rest = (p - q).clamp(min=0)
    return (p[proposal] / q[proposal]).clamp(max=1), rest / rest.sum()


@accept.mistake("p and q swapped", "What the draft says too seldom would be refused: the chance is p / q, at most 1.")
def _accept_swapped(p, q, proposal):
    return (q[proposal] / p[proposal]).clamp(max=1), accept(p, q, proposal)[1]


@accept.mistake(
    "the teacher's probability is the chance", "Then even a draft equal to its teacher would be refused: p / q."
)
def _accept_alone(p, q, proposal):
    return p[proposal], accept(p, q, proposal)[1]


@accept.mistake(
    "a chance above 1", "A chance is at most 1: what the teacher finds likelier than the draft is always kept."
)
def _accept_above(p, q, proposal):
    return p[proposal] / q[proposal], accept(p, q, proposal)[1]


@accept.mistake("kept or refused outright", "Kept only where p ≥ q: the others are to be kept too, p / q of the time.")
def _accept_outright(p, q, proposal):
    return (p[proposal] >= q[proposal]).float(), accept(p, q, proposal)[1]


@accept.mistake(
    "another is drawn from the teacher",
    "Part of p has come through the tokens that were kept: only what is missing, p − q, is left to draw.",
)
def _accept_redraw(p, q, proposal):
    return accept(p, q, proposal)[0], p


@accept.mistake("the rest is no distribution", "Divide by its sum, or its probabilities do not add to 1.")
def _accept_unscaled(p, q, proposal):
    return accept(p, q, proposal)[0], (p - q).clamp(min=0)


@accept.mistake(
    "the rest without a clamp", "Where the draft gave too much nothing is missing: 0, not less, and not |p − q|."
)
def _accept_signed(p, q, proposal):
    rest = (p - q).abs()
    return accept(p, q, proposal)[0], rest / rest.sum()


@accept.mistake("the rest of the draft", "Missing is what the teacher has beyond the draft: p − q, not q − p.")
def _accept_other_rest(p, q, proposal):
    return accept(p, q, proposal)[0], accept(q, p, proposal)[1]
