"""Small GPTs that write character by character: characters in, logits of the next character out."""

import torch
from torch import Tensor, nn

from kdcourse.models.common import evaluating, seeded
from kdcourse.system.runtime import need


class LanguageModel(nn.Module):
    """A causal language model of `transformers`, as the training loop wants it: (N, L) int64 -> logits (N, L, V)."""

    def __init__(self, gpt: nn.Module):
        super().__init__()
        self.gpt = gpt
        config = gpt.config
        self.label = f"GPT {config.n_layer} × {config.n_embd}"

    def forward(self, characters: Tensor) -> Tensor:
        # With a cache, empty as it is, transformers need not look for texts that were packed into one: a GPU would wait.
        return self.gpt(input_ids=characters, use_cache=True).logits

    @torch.no_grad()
    def write(self, prompts: Tensor, length: int, *, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """Go on from prompts (N, P), drawing each character from the model's distribution: (N, P + length).

        temperature: of that distribution, T > 0, default 1. seed: the same seed writes the same.
        Raises `ValueError` where prompt and text together are longer than the model.
        """
        longest = self.gpt.config.n_positions
        if prompts.ndim != 2 or length < 1 or prompts.shape[1] + length > longest:
            raise ValueError(
                f"prompts and length must make at most {longest} characters, got prompts of shape {tuple(prompts.shape)} "
                f"and length {length}"
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        generator = torch.Generator(prompts.device).manual_seed(seed)
        with evaluating(self.gpt):
            written, past, new = prompts, None, prompts
            for _ in range(length):
                out = self.gpt(input_ids=new, past_key_values=past, use_cache=True)
                past, chances = out.past_key_values, (out.logits[:, -1] / temperature).softmax(dim=1)
                new = torch.multinomial(chances, 1, generator=generator)
                written = torch.cat([written, new], dim=1)
        return written


@seeded
def gpt(width: int = 128, depth: int = 4, *, heads: int = 4, characters: int = 65, length: int = 64) -> LanguageModel:
    """A GPT with fresh weights.

    width: of the hidden states, a multiple of `heads`. depth: layers. characters: size of the alphabet. length: characters
    that it can look back on. seed: fixes the first weights (default 0).
    """
    need("transformers")
    from transformers import GPT2Config, GPT2LMHeadModel

    if min(width, depth, heads, characters, length) < 1 or width % heads:
        raise ValueError(
            f"width must be a multiple of heads and all at least 1, got {width}, {depth}, {heads}, {characters}, {length}"
        )
    config = GPT2Config(
        vocab_size=characters,
        n_positions=length,
        n_embd=width,
        n_layer=depth,
        n_head=heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LanguageModel(GPT2LMHeadModel(config))
