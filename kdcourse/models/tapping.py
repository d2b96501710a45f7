"""What happens inside a model: its layers by name, and their outputs beside the logits, without touching its code."""

import operator
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LOGITS = "logits"


def layers(model: nn.Module) -> list[str]:
    """The names that can be tapped, in the order of the computation: "stage1.0", "stage1.1", …, "classifier".

    A block's own name ("stage1") stands for its last layer. Raises `ValueError` for a model that cannot be traced.
    """
    return _nodes(model)[1:]  # the first node is the input


class Tapped(nn.Module):
    """A model together with taps on some of its layers: pictures -> (logits, {layer: output}).

    It shares weights and modules with the model: training one trains the other. Work in place is switched off in the model,
    which changes no number, and what a tap hands out is a copy where the model writes into its tensors all the same.
    model: any model that `torch.fx` can trace, such as torchvision's; `DataParallel` and `torch.compile` are looked through.
    names: layers as in `layers(model)`.
    Raises `ValueError` with the layers there are for a name that is none of them, and, with the first pictures, for a model that
    traces to something else than it computes.
    """

    def __init__(self, model: nn.Module, names: Iterable[str] = (), *, role: str = "model"):
        super().__init__()
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        self.model, self.extract, self.is_checked, self.dtype = model, None, False, _dtype(model)
        self.role = role
        if not names:
            return
        from torchvision.models.feature_extraction import create_feature_extractor

        model = unwrapped(model)
        nodes = _nodes(model)
        known = {prefix for node in nodes[1:] for prefix in _prefixes(node)}
        for name in names:
            if _bare(name) not in known:
                raise ValueError(f"the {role} has no layer {name!r}; its layers are {', '.join(nodes[1:])}")
        wanted = {_bare(name): _bare(name) for name in names} | {nodes[-1]: nodes[-1]}
        self.names, self.last = names, nodes[-1]
        self.extract = create_feature_extractor(model, wanted)
        _keep_values(self.extract)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.dtype is not None and images.is_floating_point():
            images = images.to(self.dtype)
        if self.extract is None:
            return self._logits(self.model(images)), {}
        if not self.is_checked:
            self._check(images[:2])
        found = self.extract(images)
        return self._logits(found[self.last]), {name: found[_bare(name)] for name in self.names}

    def _logits(self, answers: object) -> Tensor:
        if not isinstance(answers, Tensor) or answers.ndim < 2:
            kind = (
                f"a tensor of shape {tuple(answers.shape)}" if isinstance(answers, Tensor) else type(answers).__name__
            )
            raise ValueError(
                f"the {self.role} must give logits (N, C) as a tensor, got {kind}: wrap it in a model that does"
            )
        return answers

    def _check(self, images: Tensor) -> None:
        """Compare with the model itself, once: a trace drops a call such as `x.add_(1)` whose result nobody takes."""
        was_training = self.training
        self.eval()
        with torch.no_grad():
            traced, plain = self.extract(images)[self.last], self._logits(unwrapped(self.model)(images))
        self.train(was_training)
        self.is_checked = True
        if not torch.allclose(traced, plain, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError(
                f"{type(unwrapped(self.model)).__name__} computes something else when its layers are tapped: a call that works "
                "in place, such as x.add_(1), is lost where its result is not taken; write x = x + 1"
            )


def _dtype(model: nn.Module) -> torch.dtype | None:
    """What a model computes in, where that is not float32: half or double precision."""
    given = next((one.dtype for one in model.parameters() if one.is_floating_point()), None)
    return None if given == torch.float32 else given


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself within `DataParallel`, `DistributedDataParallel` and what `torch.compile` returns."""
    while (inner := getattr(model, "_orig_mod", None) or _parallel(model)) is not None:
        model = inner
    return model


def _parallel(model: nn.Module) -> nn.Module | None:
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return model.module if isinstance(model, parallel) else None


def _bare(name: str) -> str:
    """A layer's name without what the wrappers put before it."""
    return name.removeprefix("_orig_mod.").removeprefix("module.")


def _nodes(model: nn.Module) -> list[str]:
    from torchvision.models.feature_extraction import get_graph_node_names

    model = unwrapped(model)
    try:
        return get_graph_node_names(model, suppress_diff_warning=True)[0]
    except Exception as error:  # tracing runs the model's own code on what is no tensor, and any of it may object
        raise ValueError(f"{type(model).__name__} cannot be traced, so its layers cannot be tapped: {error}") from error


def _prefixes(node: str) -> list[str]:
    parts = node.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _keep_values(extract: nn.Module) -> None:
    """Undo work in place: `relu_(x)` or `x += y` after a tap would change what the tap has already handed out."""
    for module in extract.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    for graph in (extract.train_graph, extract.eval_graph):
        for node in graph.nodes:
            node.target = {operator.iadd: operator.add}.get(node.target, node.target)
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
        if any(_writes(node) for node in graph.nodes):
            _copy_outputs(graph)
    extract.recompile()


def _writes(node: torch.fx.Node) -> bool:
    """Whether it may change a tensor that it is given: by Python's custom the name of such a call ends with one underscore."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_method", "call_function") and (
        name == "setitem" or (name.endswith("_") and not name.endswith("__"))
    )


def _copy_outputs(graph: torch.fx.Graph) -> None:
    (output,) = (node for node in graph.nodes if node.op == "output")
    copies = {}
    for name, node in output.args[0].items():
        with graph.inserting_after(node):
            copies[name] = graph.call_method("clone", (node,))
    output.args = (copies,)
