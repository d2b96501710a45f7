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
    which changes no number.
    model: any model that `torch.fx` can trace, such as torchvision's. names: layers as in `layers(model)`.
    Raises `ValueError` with the layers there are for a name that is none of them.
    """

    def __init__(self, model: nn.Module, names: Iterable[str] = (), *, role: str = "model"):
        super().__init__()
        names = list(dict.fromkeys(names))
        self.model, self.extract = model, None
        if not names:
            return
        from torchvision.models.feature_extraction import create_feature_extractor

        nodes = _nodes(model)
        known = {prefix for node in nodes[1:] for prefix in _prefixes(node)}
        for name in names:
            if name not in known:
                raise ValueError(f"the {role} has no layer {name!r}; its layers are {', '.join(nodes[1:])}")
        wanted = {name: name for name in names} | {nodes[-1]: nodes[-1]}
        self.names, self.last = names, nodes[-1]
        self.extract = create_feature_extractor(model, wanted)
        _keep_values(self.extract)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.extract is None:
            return self.model(images), {}
        found = self.extract(images)
        return found[self.last], {name: found[name] for name in self.names}


def _nodes(model: nn.Module) -> list[str]:
    from torchvision.models.feature_extraction import get_graph_node_names

    try:
        return get_graph_node_names(model, suppress_diff_warning=True)[0]
    except (torch.fx.proxy.TraceError, TypeError) as error:
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
    extract.recompile()
