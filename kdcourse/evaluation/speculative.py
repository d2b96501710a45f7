"""Speculative decoding: a small model drafts, a large one looks over the whole draft at once, and the text is the large one's.

Source: Leviathan, Kalman, Matias (2023), *Fast Inference from Transformers via Speculative Decoding*. The large model is the
teacher here, its draft a student: how many of its proposals are kept is one more measure of what a student has learnt.
Neither keeps its keys and values from one call to the next, which would spare both alike.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from kdcourse.evaluation.measure import next_token_loss
from kdcourse.models.common import evaluating
from kdcourse.system.arguments import whole_number

AHEAD = 4  # tokens that a draft proposes before the teacher is asked
Rule = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def acceptance(p: Tensor, q: Tensor, proposal: int) -> tuple[Tensor, Tensor]:
    """The chance that a proposal is kept, min(1, p / q), and the distribution that another is drawn from when it is not.

    p, q: (V,) the teacher's probabilities of the next token, and the draft's, from which the proposal was drawn. The other is
    drawn from max(0, p − q), scaled to the sum 1. So every token comes with the teacher's probability: kept, min(p, q); drawn
    anew, the rest of p. Source: Leviathan et al. (2023), §2.3 and appendix A.1.
    """
    rest = (p - q).clamp_min(0)
    # Without a rest no proposal is refused, but for rounding.
    return (p[proposal] / q[proposal]).clamp(max=1), rest / rest.sum() if rest.sum() > 0 else p


@torch.no_grad()
def speculate(
    teacher: nn.Module,
    draft: nn.Module,
    prompt: Tensor,
    length: int,
    *,
    ahead: int = AHEAD,
    temperature: float = 1.0,
    seed: int = 0,
    rule: Rule = acceptance,
    draw: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, int]:
    """Go on from a prompt (P,) as the teacher would: the text (P + length,), and how often the teacher was asked.

    teacher, draft: tokens (N, L) -> logits (N, L, V), of one vocabulary. ahead: tokens that the draft proposes for each call of
    the teacher, default 4; 0 is the teacher alone. temperature: of both, T > 0; near 0 both take the likeliest. seed: the same
    seed writes the same. rule: as `acceptance`. draw: probabilities (K,) -> a number (1,) drawn by them, default by the seed.
    """
    if prompt.ndim != 1 or not len(prompt):
        raise ValueError(f"prompt must be one text (P,), got shape {tuple(prompt.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    length, ahead = whole_number("length", length), whole_number("ahead", ahead, least=0)
    generator = torch.Generator(prompt.device).manual_seed(seed)
    draw = draw or partial(torch.multinomial, num_samples=1, generator=generator)
    text, calls, end = prompt, 0, len(prompt) + length
    with evaluating(teacher, prompt.device), evaluating(draft, prompt.device):

        def foretold(model: nn.Module, count: int) -> Tensor:
            """The distributions (count, V) that follow the last `count` tokens of the text."""
            return (model(text[None])[0, -count:] / temperature).softmax(dim=1)

        while (start := len(text)) < end:
            q = []
            for _ in range(min(ahead, end - start - 1)):  # the call of the teacher itself brings one more
                q.append(foretold(draft, 1)[0])
                text = torch.cat([text, draw(q[-1])])
            p, calls = foretold(teacher, len(q) + 1), calls + 1
            kept, following = len(q), p[-1]
            for place, ours in enumerate(q):
                chance, rest = rule(p[place], ours, int(text[start + place]))
                if not draw(torch.stack([1 - chance, chance])):
                    kept, following = place, rest
                    break
            text = torch.cat([text[: start + kept], draw(following)])
    return text, calls


@torch.no_grad()
def tokens_per_call(teacher: nn.Module, draft: nn.Module, written: Tensor, prompt: int, *, ahead: int = AHEAD) -> float:
    """How many tokens one call of the teacher brings, when a draft proposes `ahead` of them each time: from 1 to ahead + 1.

    written: (N, L) texts that the teacher itself wrote after `prompt` tokens, as speculative decoding does. Where such a text
    holds a token x, its proposal had been kept with the chance min(1, q(x) / p(x)), so the calls for a text are an expected
    number that needs no drawing: calls(i) = 1 + the mean of calls(j) over the places j where the next draft may begin.
    """
    ahead, prompt = whole_number("ahead", ahead, least=0), whole_number("prompt", prompt, most=written.shape[1] - 1)
    q, p = (-next_token_loss(model, written[:, :-1], written[:, 1:])[:, prompt - 1 :] for model in (draft, teacher))
    kept = (q - p).clamp(max=0).exp().T  # (places, N)
    length, texts = kept.shape
    calls = kept.new_zeros(length + 1, texts)
    for start in reversed(range(length)):
        reached, last = kept.new_ones(texts), min(start + ahead, length - 1)
        calls[start] = 1
        for place in range(start, last):
            calls[start] += reached * (1 - kept[place]) * calls[place + 1]
            reached = reached * kept[place]
        calls[start] += reached * calls[last + 1]
    return length * texts / calls[0].sum().item()
