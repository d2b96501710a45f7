"""What two models of `transformers` say within: losses between their hidden states, attention and [CLS] states, for a `Trainer`.

Where hidden states differ in width, a linear map from the student's to the teacher's is learnt beside the student. While it
trains, the maps are a part of it, so that one optimizer and every process see them; otherwise the student is as it was built.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses import attention_mse, hidden_cosine
from kdcourse.models.tapping import unwrapped
from kdcourse.system.generators import seeded_rng

STACK = ("num_hidden_layers", "hidden_size", "num_attention_heads")  # what the config of one stack of layers tells
ADAPTERS = (
    "distillation_adapters"  # the student's attribute that holds them while it trains, and their file in a checkpoint
)


class Inner:
    """The inner losses that `args`, `DistillationTrainingArguments`, ask for, and the maps that are learnt for them.

    layers: student's layer -> teacher's. adapters: name -> linear map from the student's width to the teacher's.
    examples: what the student is trained on; the loss of [CLS] states reads the teacher's width there.
    Raises `ValueError` where the two models cannot be compared.
    """

    def __init__(self, args, student: nn.Module, teacher: nn.Module | None, examples=None):
        self.args, self.layers = args, _layers(args, student, teacher)
        widths = _widths(args, student, teacher, self.layers, examples)
        with seeded_rng(args.seed):
            linear = partial(nn.Linear, student.config.hidden_size, bias=False, dtype=student.dtype) if widths else None
            self.adapters = nn.ModuleDict({name: linear(width) for name, width in widths.items()})
        if args.attention:  # the fused kernels keep their attention to themselves
            for network in (student, teacher):
                network.set_attn_implementation("eager")

    @property
    def asked(self) -> dict[str, bool]:
        """What both models are asked for beside logits; nothing where no inner loss is wanted."""
        if not self.layers and not self.args.sentence:
            return {}
        states = self.args.hidden > 0 or self.args.sentence > 0
        return {"output_hidden_states": states, "output_attentions": self.args.attention > 0}

    def losses(self, ours, theirs, states: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        """Each loss by the name of its weight; of layers the mean over their pairs. mask: of real tokens, default all.

        states: the teacher's [CLS] states (N, D), where they are asked for.
        """
        found, pairs = {}, self.layers.items()
        if mask is None and pairs:
            every = (ours.hidden_states if self.args.hidden else ours.attentions)[0]  # (N, L, D) or (N, heads, L, L)
            mask = every.new_ones(every.shape[0], every.shape[-2])
        if self.args.hidden:  # hidden_states[0] are the embeddings
            adapted = {own: self._adapted(f"layer{own}", ours.hidden_states[own + 1]) for own in self.layers}
            found["hidden"] = _mean(
                hidden_cosine(adapted[own], theirs.hidden_states[other + 1], mask) for own, other in pairs
            )
        if self.args.attention:
            found["attention"] = _mean(
                attention_mse(ours.attentions[own], theirs.attentions[other], mask) for own, other in pairs
            )
        if self.args.sentence:  # 1 − cosine, mean over the batch
            state = self._adapted("sentence", ours.hidden_states[-1][:, 0])
            found["sentence"] = (1 - F.cosine_similarity(state, states, dim=1)).mean()
        return found

    def _adapted(self, name: str, state: Tensor) -> Tensor:
        return self.adapters[name](state) if name in self.adapters else state

    def join(self, student: nn.Module) -> None:
        """Make the maps a part of the student, where they are not yet."""
        student = unwrapped(student)
        if len(self.adapters):
            student.add_module(ADAPTERS, self.adapters.to(next(student.parameters()).device))

    def leave(self, student: nn.Module) -> None:
        """Give the student back as it was built."""
        if hasattr(unwrapped(student), ADAPTERS):
            delattr(unwrapped(student), ADAPTERS)

    @contextmanager
    def apart(self, student: nn.Module) -> Iterator[None]:
        """Within, the student is without the maps: its weights are read or written alone."""
        joined = hasattr(unwrapped(student), ADAPTERS)
        self.leave(student)
        try:
            yield
        finally:
            if joined:
                self.join(student)

    def save(self, folder: str | Path) -> None:
        if len(self.adapters):
            safetensors.torch.save_file(self.adapters.state_dict(), Path(folder) / f"{ADAPTERS}.safetensors")

    def load(self, folder: str | Path) -> None:
        """Raises `ValueError` for a checkpoint without the maps, or with those of other widths."""
        if not len(self.adapters):
            return
        file = Path(folder) / f"{ADAPTERS}.safetensors"
        if not file.is_file():
            raise ValueError(
                f"resume_from_checkpoint must hold {file.name}, what is learnt beside the student, got none"
            )
        found, shapes = safetensors.torch.load_file(file), {}
        for source, weights in (("here", self.adapters.state_dict()), ("there", found)):
            shapes[source] = {name: tuple(weight.shape) for name, weight in weights.items()}
        if shapes["here"] != shapes["there"]:
            raise ValueError(f"resume_from_checkpoint must have maps {shapes['here']}, got {shapes['there']}")
        self.adapters.load_state_dict(found)


def _mean(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


def _widths(args, student: nn.Module, teacher: nn.Module | None, layers: Mapping, examples) -> dict[str, int]:
    """What the student's states must be mapped to, where the teacher's are wider or narrower: name -> the teacher's width."""
    widths = {}
    if args.hidden:
        widths = {f"layer{own}": teacher.config.hidden_size for own in layers}
    if args.sentence:
        states = getattr(examples, "more", {}).get("teacher_states")
        if states is None:
            raise ValueError("train_dataset must be Examples with teacher_states for the sentence loss, got none")
        widths["sentence"] = states.shape[1]
    return {name: width for name, width in widths.items() if width != student.config.hidden_size}


def _layers(args, student: nn.Module, teacher: nn.Module | None) -> dict[int, int]:
    """The pairs of layers to be matched; none where neither inner loss is asked for."""
    if not args.hidden and not args.attention:
        return {}
    if teacher is None:
        raise ValueError("teacher must be given for hidden-state and attention losses, got None")
    for name, model in (("model", student), ("teacher", teacher)):
        if model.config.is_encoder_decoder or not all(hasattr(model.config, part) for part in STACK):
            kind = type(model).__name__
            raise ValueError(f"{name} must be one stack of layers for hidden-state and attention losses, got {kind}")
    ours, theirs = student.config, teacher.config
    if args.attention and ours.num_attention_heads != theirs.num_attention_heads:
        raise ValueError(
            "teacher must have as many attention heads as the student for the attention loss, got "
            f"{theirs.num_attention_heads} and {ours.num_attention_heads}"
        )
    depths = ours.num_hidden_layers, theirs.num_hidden_layers
    layers = args.layers or {own: (own + 1) * depths[1] // depths[0] - 1 for own in range(depths[0])}
    layers = {int(own): int(other) for own, other in layers.items()}  # JSON turns numbers that are keys into strings
    for own, other in layers.items():
        if not (0 <= own < depths[0] and 0 <= other < depths[1]):
            raise ValueError(f"layers must be within 0–{depths[0] - 1} -> 0–{depths[1] - 1}, got {own} -> {other}")
    return layers
