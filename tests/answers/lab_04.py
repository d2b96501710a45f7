"""Answers to lab 04's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import torch
from torch.nn import functional as F

from kdcourse import losses


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def q(f):
    return unit((f * f).sum(1).reshape(len(f), -1))


def ab(s, t, m):
    t = t.detach()
    return ((s + m) ** 2 * ((s > -m) & (t <= 0)) + (s - m) ** 2 * ((s <= m) & (t > 0))).mean()


def grad(y, x, keep=True):
    return torch.autograd.grad(y, x, create_graph=keep)[0].flatten(1)


def true(z, y):
    return z[torch.arange(len(y)), y].sum()


RIGHT = {
    "04.attention_map": [
        lambda f: [(m := one.square().mean(0).flatten()) / m.norm() for one in f],
        q,
        lambda f: losses.attention_map(f),
        lambda f: unit(f.norm(dim=1).square().flatten(1)),
    ],
    "04.attention_transfer": [
        lambda s, t: losses.attention_transfer(s, t),
        lambda s, t: ((q(s) - q(t.detach())) ** 2).sum() / (s.shape[0] * s.shape[2] * s.shape[3]),
    ],
    "04.parameters_to_train": [
        lambda s, t, h: [{"params": one.parameters()} for one in (s, *h)],
        lambda s, t, h: torch.nn.ModuleList([s, *h]).parameters(),
        lambda s, t, h: sum((list(one.parameters()) for one in h), list(s.parameters())),
    ],
    "04.activation_boundary": [
        lambda s, t, m: torch.where(t.detach() > 0, F.relu(m - s), F.relu(s + m)).square().mean(),
        ab,
        lambda s, t, m: losses.activation_boundary(s, t, margin=m),
    ],
    "04.input_gradient": [
        lambda z, x, y: unit(grad(true(z, y), x)),
        lambda z, x, y: unit(grad((z * F.one_hot(y, z.shape[1])).sum(), x)),
    ],
}
WRONG = {
    "04.attention_map": {
        "no sum over channels": lambda f: unit((f**2).reshape(len(f), -1)),
        "the features are not squared": lambda f: unit(f.sum(1).flatten(1)),
        "rows that add to 1": lambda f: (f**2).mean(1).flatten(1) / (f**2).mean(1).flatten(1).sum(1, keepdim=True),
        "not normalised": lambda f: f.square().mean(1).reshape(len(f), -1),
        "normalised over the batch": lambda f: (m := f.square().sum(1).flatten(1)) / m.norm(dim=0),
    },
    "04.attention_transfer": {
        "the teacher is not detached": lambda s, t: (q(s) - q(t)).square().mean(),
        "the sum over positions": lambda s, t: (q(s) - q(t.detach())).square().sum() / len(s),
        "lengths, not squares": lambda s, t: (q(s) - q(t.detach())).square().sum(1).sqrt().mean(),
        "the maps are not normalised": lambda s, t: (s.square().mean(1) - t.detach().square().mean(1)).square().mean(),
    },
    "04.parameters_to_train": {
        "the helpers never reach the optimiser": lambda s, t, h: s.parameters(),
        "the teacher is trained too": lambda s, t, h: torch.nn.ModuleList([s, t, *h]).parameters(),
        "the first helper only": lambda s, t, h: [*h[0].parameters(), *s.parameters()],
        "the variances are left out": lambda s, t, h: [*s.parameters(), h[0].project.weight, h[0].project.bias, *h[1].project.parameters()],
    },
    "04.activation_boundary": {
        "on and off exchanged": lambda s, t, m: ab(s, -t, m),
        "no margin": lambda s, t, m: ab(s, t, 0),
        "plain squared error": lambda s, t, m: (s - t.detach()).square().mean(),
        "the sum, not the mean": lambda s, t, m: ab(s, t, m) * s.shape.numel(),
        "content neurons are pushed too": lambda s, t, m: (s - m * (2.0 * (t > 0) - 1)).square().mean(),
    },
    "04.input_gradient": {
        "create_graph is missing": lambda z, x, y: unit(grad(true(z, y), x, keep=False)),
        "all classes at once": lambda z, x, y: unit(grad(z.sum(), x)),
        "the largest logit": lambda z, x, y: unit(grad(z.amax(1).sum(), x)),
        "not normalised": lambda z, x, y: grad(true(z, y), x),
        "the gradient of the loss": lambda z, x, y: unit(grad(F.cross_entropy(z, y), x)),
    },
}  # fmt: skip
UNKNOWN = {
    "04.attention_map": [lambda f: unit(f.abs().mean(1).flatten(1)), lambda f: 0.4 * q(f)],
    "04.attention_transfer": [lambda s, t: 0.4 * (q(s) - q(t.detach())).square().mean(), lambda s, t: F.l1_loss(q(s), q(t.detach()))],
    "04.parameters_to_train": [lambda s, t, h: [*s.parameters(), *h], lambda s, t, h: [*s.parameters(), *s.parameters()]],
    "04.activation_boundary": [lambda s, t, m: ab(s, t, 2 * m), lambda s, t, m: 0.4 * ab(s, t, m)],
    "04.input_gradient": [lambda z, x, y: unit(grad(true(z, (y + 1) % 4), x)), lambda z, x, y: -unit(grad(true(z, y), x))],
}  # fmt: skip


def run_with_hook(model, name, images, keep):
    """Run with a hook that `keep`s something of (inputs, output), and take it away again."""
    kept = {}

    def hook(module, inputs, output):
        kept["it"] = keep(inputs, output)

    with dict(model.named_modules())[name].register_forward_hook(hook):
        model(images)
    return kept["it"]


def up_to(model, name, images):
    """Without a hook: the layers one after the other, as far as the named one, and then the rest."""
    found = None
    for own_name, layer in model.named_children():
        images = layer(images)
        if own_name == name:
            found = images + 0
    return found


def hook_forgotten(model, name, images, keep=lambda o: o * 1):
    kept = {}
    model.get_submodule(name).register_forward_hook(lambda m, i, o: kept.update(it=keep(o)))
    model(images)
    return kept["it"]


def mse(a, b):
    return ((a - b) ** 2).sum() / a.numel()


RIGHT |= {
    "04.feature_hook": [lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o + 0), up_to],
    "04.hint": [
        lambda s, t, r: mse(r(s), t.detach()),
        lambda s, t, r: losses.hint(r.forward(s), t),
        lambda s, t, r: torch.nn.MSELoss()(torch.einsum("oc,nchw->nohw", r.weight[:, :, 0, 0], s) + r.bias[:, None, None], t.data),
    ],
}  # fmt: skip
WRONG |= {
    "04.feature_hook": {
        "the hook stays": hook_forgotten,
        "the input in place of the output": lambda m, n, x: run_with_hook(m, n, x, lambda i, o: i[0] * 1),
        "the output is detached": lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o.detach().clone()),
        "the value is written over": lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o),
        "detached, and written over": lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o.data),
        "the hook stays, and the value is written over": lambda m, n, x: hook_forgotten(m, n, x, keep=lambda o: o),
    },
    "04.hint": {
        "the regressor on the teacher's side": lambda s, t, r: mse(s, r(t.detach())),
        "the teacher is not detached": lambda s, t, r: mse(r(s), t),
        "the sum, not the mean": lambda s, t, r: (r(s) - t.detach()).square().sum(),
        "no regressor": lambda s, t, r: mse(s, t.detach()),
        "the regressor gets no gradient": lambda s, t, r: mse(torch.einsum("oc,nchw->nohw", r.weight.data[:, :, 0, 0], s) + r.bias.data[:, None, None], t.detach()),
    },
}  # fmt: skip
UNKNOWN |= {
    "04.feature_hook": [
        lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o * 0.4),
        lambda m, n, x: run_with_hook(m, n, x, lambda i, o: o.relu()),
    ],
    "04.hint": [lambda s, t, r: 0.4 * mse(r(s), t.detach()), lambda s, t, r: F.l1_loss(r(s), t.detach())],
}  # fmt: skip
