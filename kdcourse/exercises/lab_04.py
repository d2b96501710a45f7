"""The exercises of lab 04, Distil features."""

import torch
from torch import nn
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, gradients, values
from kdcourse.system.generators import seeded_rng


def _maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@define(
    "04.attention_map",
    goal="Where is a layer active? Mean over channels of the squared features, flattened, each picture's row of length 1.",
    difficulty="easy",
    minutes="five minutes",
    hints=("Features are (N, C, H, W): square them, then take the mean over dimension 1.",
           "flatten(1) keeps the batch: (N, H·W).",
           "F.normalize(…, dim=1) divides each row by its Euclidean length."),
    probe=lambda answer: values(answer, [(_maps(0, 3, 4, 5, 5),), (_maps(1, 2, 7, 3, 4),)], learns=True),
)  # fmt: skip
def attention_map(features):
    return F.normalize(features.pow(2).mean(dim=1).flatten(1), dim=1)


@attention_map.mistake(
    "no sum over channels", "The map then has C values for each position, and needs equal channel counts on both sides."
)
def _channels_kept(features):
    return F.normalize(features.pow(2).flatten(1), dim=1)


@attention_map.mistake("the features are not squared", "Positive and negative channels then cancel: square them first.")
def _not_squared(features):
    return F.normalize(features.mean(dim=1).flatten(1), dim=1)


@attention_map.mistake(
    "rows that add to 1", "That is the l1 norm; the length here is Euclidean, F.normalize's default."
)
def _l1(features):
    return F.normalize(features.pow(2).mean(dim=1).flatten(1), p=1, dim=1)


@attention_map.mistake("not normalised", "Networks differ in scale: without the length 1 the larger one dictates it.")
def _raw(features):
    return features.pow(2).mean(dim=1).flatten(1)


@attention_map.mistake("normalised over the batch", "Each picture has its own map: normalise along dim=1, not dim=0.")
def _over_the_batch(features):
    return F.normalize(features.pow(2).mean(dim=1).flatten(1), dim=0)


def _two_maps() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(_maps(2, 3, 4, 5, 5), _maps(3, 3, 8, 5, 5)), (_maps(4, 2, 3, 6, 6), _maps(5, 2, 5, 6, 6))]


@define(
    "04.attention_transfer",
    goal="The loss: mean squared difference of the two attention maps; no gradient into the teacher.",
    difficulty="easy",
    minutes="four minutes",
    hints=("Reuse attention_map on both sides.",
           "F.mse_loss takes the mean over pictures and positions; detach the teacher's map."),
    probe=lambda answer: gradients(answer, _two_maps()),
)  # fmt: skip
def attention_transfer(student_features, teacher_features):
    return F.mse_loss(attention_map(student_features), attention_map(teacher_features).detach())


@attention_transfer.mistake("the teacher is not detached", "The teacher stays as it is: .detach() its map.")
def _teacher_moves(student_features, teacher_features):
    return F.mse_loss(attention_map(student_features), attention_map(teacher_features))


@attention_transfer.mistake(
    "the sum over positions", "The authors' code takes the mean over positions too; a sum is H·W times as large."
)
def _summed(student_features, teacher_features):
    gap = attention_map(student_features) - attention_map(teacher_features).detach()
    return gap.pow(2).sum(1).mean()


@attention_transfer.mistake("lengths, not squares", "That is the Euclidean distance of the maps; the loss squares it.")
def _lengths(student_features, teacher_features):
    return (attention_map(student_features) - attention_map(teacher_features).detach()).norm(dim=1).mean()


@attention_transfer.mistake(
    "the maps are not normalised", "The maps' scale is then matched too, which AT leaves free: use attention_map."
)
def _unnormalised(student_features, teacher_features):
    return F.mse_loss(_raw(student_features), _raw(teacher_features).detach())


class _Helper(nn.Module):
    """Stands for a regressor and for VID's variances: what learns beside the student."""

    def __init__(self):
        super().__init__()
        self.project, self.softness = nn.Conv2d(2, 3, 1), nn.Parameter(torch.zeros(3))


def _ungrouped(given):
    """What an optimiser takes: parameters, groups of them, or pairs with their names."""
    for one in given:
        if isinstance(one, dict):
            yield from _ungrouped(one.get("params", ()))
        else:
            yield one[1] if isinstance(one, tuple) and len(one) == 2 else one


def _is_taken(given: list) -> bool:
    try:
        torch.optim.SGD(given, lr=0.1)
    except (TypeError, ValueError, KeyError):
        return False
    return True


def _who_moves(answer) -> dict[str, object]:
    """Which parameters are listed, and whether an optimiser takes the list as it is."""
    with seeded_rng(0):
        student, teacher, helpers = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 3, 1), [_Helper(), _Helper()]
    given = list(filled(answer(student, teacher, helpers)))
    listed = list(_ungrouped(given))
    chosen = [one for one in listed if isinstance(one, nn.Parameter)]
    ids = {id(parameter) for parameter in chosen}
    found: dict[str, object] = {
        "the list holds nothing but parameters": len(chosen) == len(listed),
        "an optimiser takes the list": _is_taken(given),
        "a parameter is frozen": not all(one.requires_grad for one in chosen),
        "all of the student is trained": all(id(one) in ids for one in student.parameters()),
        "the teacher is trained": any(id(one) in ids for one in teacher.parameters()),
        "a parameter is named twice": len(chosen) != len(ids),
    }
    for part in ("project.weight", "project.bias", "softness"):
        found[f"{part} of every helper is trained"] = all(id(one.get_parameter(part)) in ids for one in helpers)
    found["any helper's weight is trained"] = any(id(one.project.weight) in ids for one in helpers)
    return found


@define(
    "04.parameters_to_train",
    goal="FitNets' regressors and VID's variances learn beside the student. List every parameter the optimiser must see.",
    difficulty="easy, and the source of a famous bug",
    minutes="three minutes",
    hints=("module.parameters() gives a module's own.",
           "The student's, and those of each helper; the teacher's never.",
           "[*student.parameters(), *(p for helper in helpers for p in helper.parameters())]"),
    probe=_who_moves,
)  # fmt: skip
def parameters_to_train(student, teacher, helpers):
    own = list(student.parameters())
    return own + [parameter for helper in helpers for parameter in helper.parameters()]


@parameters_to_train.mistake(
    "the helpers never reach the optimiser",
    "The student then imitates the teacher through a random projection, and VID's variances stay constant.",
)
def _student_only(student, teacher, helpers):
    return list(student.parameters())


@parameters_to_train.mistake("the teacher is trained too", "It would move towards the student: the easy way to agree.")
def _everybody(student, teacher, helpers):
    return parameters_to_train(student, teacher, helpers) + list(teacher.parameters())


@parameters_to_train.mistake("the first helper only", "Every pair of layers has a helper of its own.")
def _first_helper(student, teacher, helpers):
    return [*student.parameters(), *helpers[0].parameters()]


@parameters_to_train.mistake(
    "the variances are left out", "They are parameters of their own, beside the convolution: VID needs them to move."
)
def _no_variances(student, teacher, helpers):
    return [*student.parameters(), *(one for helper in helpers for one in helper.project.parameters())]


def _pre_activations() -> list[tuple]:
    return [(_maps(6, 3, 4, 5, 5), _maps(7, 3, 4, 5, 5), 1.0), (_maps(8, 2, 3, 4, 4), _maps(9, 2, 3, 4, 4), 0.5)]


@define(
    "04.activation_boundary",
    goal="AB on pre-activations s, t: (s + m)² where t is off and s > −m, (s − m)² where t is on and s ≤ m; mean over all.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("on = teacher > 0 is a mask of booleans; multiply by it.",
           "off, and s above −m: push s down to −m. On, and s not above m: push it up to m.",
           "F.relu(s + m)² is (s + m)² where s > −m and 0 elsewhere; F.relu(m − s)² likewise."),
    probe=lambda answer: gradients(answer, _pre_activations()),
)  # fmt: skip
def activation_boundary(student_pre, teacher_pre, margin):
    on = teacher_pre.detach() > 0
    too_high = F.relu(student_pre + margin).pow(2) * ~on
    too_low = F.relu(margin - student_pre).pow(2) * on
    return (too_high + too_low).mean()


@activation_boundary.mistake("on and off exchanged", "Where the teacher is on, the student is to be pushed up to m.")
def _exchanged(student_pre, teacher_pre, margin):
    return activation_boundary(student_pre, -teacher_pre, margin)


@activation_boundary.mistake(
    "no margin", "Without the margin m the student stops on the boundary, where noise tips it."
)
def _no_margin(student_pre, teacher_pre, margin):
    return activation_boundary(student_pre, teacher_pre, 0.0)


@activation_boundary.mistake(
    "plain squared error", "That matches how strongly neurons fire (a hint); AB asks only whether they do."
)
def _plain(student_pre, teacher_pre, margin):
    return F.mse_loss(student_pre, teacher_pre.detach())


@activation_boundary.mistake("the sum, not the mean", "Mean over all elements, or the loss grows with the layer.")
def _sum_of_all(student_pre, teacher_pre, margin):
    return activation_boundary(student_pre, teacher_pre, margin) * student_pre.numel()


@activation_boundary.mistake(
    "content neurons are pushed too",
    "A neuron beyond its margin on the right side is content: the masks s > −m and s ≤ m leave it alone.",
)
def _always_pushed(student_pre, teacher_pre, margin):
    return F.mse_loss(student_pre, torch.where(teacher_pre.detach() > 0, margin, -margin).to(student_pre))


def _input_gradients(answer) -> dict[str, object]:
    """A network with some curvature, so that a gradient of the gradient exists and can be missed."""
    with seeded_rng(3):
        net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    inputs, labels = _maps(10, 5, 6).requires_grad_(), torch.tensor([0, 3, 1, 2, 0])
    gradient = filled(answer(net(inputs), inputs, labels))
    found = values(lambda: gradient, [()])
    found["differentiable again"] = isinstance(gradient, torch.Tensor) and gradient.requires_grad
    return found


@define(
    "04.input_gradient",
    goal="For each picture: the gradient of its true class's logit with respect to its pixels, (N, D), each row of length 1.",
    difficulty="harder",
    minutes="ten minutes",
    hints=("logits.gather(1, labels[:, None]) picks each picture's own logit.",
           "torch.autograd.grad(their sum, inputs, create_graph=True)[0] holds every picture's own gradient.",
           "create_graph=True lets the loss be differentiated once more; flatten(1) and F.normalize at the end."),
    probe=_input_gradients,
)  # fmt: skip
def input_gradient(logits, inputs, labels):
    true_class = logits.gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(true_class, inputs, create_graph=True)
    return F.normalize(gradient.flatten(1), dim=1)


@input_gradient.mistake(
    "create_graph is missing", "The gradient is then a constant to autograd, and matching it would teach nothing."
)
def _constant(logits, inputs, labels):
    return input_gradient(logits, inputs, labels).detach()


@input_gradient.mistake(
    "all classes at once", "The sum of all logits; it is the true class's logit that is asked about: gather it."
)
def _all_classes(logits, inputs, labels):
    return F.normalize(torch.autograd.grad(logits.sum(), inputs, create_graph=True)[0].flatten(1), dim=1)


@input_gradient.mistake(
    "the largest logit", "Early in training the largest logit is often not the true class's: use the labels."
)
def _largest(logits, inputs, labels):
    return input_gradient(logits, inputs, logits.argmax(dim=1))


@input_gradient.mistake(
    "not normalised", "Gradients of different networks differ in scale: each row is to have length 1."
)
def _unscaled(logits, inputs, labels):
    true_class = logits.gather(1, labels[:, None]).sum()
    return torch.autograd.grad(true_class, inputs, create_graph=True)[0].flatten(1)


@input_gradient.mistake(
    "the gradient of the loss", "That is gradient attention's question; Jacobian matching asks about the logit itself."
)
def _of_the_loss(logits, inputs, labels):
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return F.normalize(torch.autograd.grad(loss, inputs, create_graph=True)[0].flatten(1), dim=1)


def _hooked(seed: int) -> nn.Sequential:
    with seeded_rng(seed):
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3), nn.Flatten())


def _traces(model: nn.Module) -> tuple[int, list]:
    """How many forward hooks there are, and what else could be left behind: modes, settings, one's own method over a layer's."""
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    settings = [(module.training, module.extra_repr(), list(vars(module))) for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    return hooks + len(nn.modules.module._global_forward_hooks), [settings, learning]


def _what_a_hook_gives(answer) -> dict[str, object]:
    """A layer whose output a ReLU overwrites, and one that nothing overwrites: the values, the gradient, what stays behind."""
    found: dict[str, object] = {}
    for number, name in enumerate(("0", "2"), start=1):
        model, images = _hooked(number), _maps(20 + number, 2, 1, 7, 7)
        (hooks, rest), features = _traces(model), filled(answer(model, name, images))
        found[f"case {number}"] = features
        found[f"a hook is left behind in case {number}"] = _traces(model)[0] > hooks
        found[f"the model is another one afterwards in case {number}"] = _traces(model)[1] != rest
        if name == "2" and isinstance(features, torch.Tensor):  # not where a ReLU may have overwritten the value
            if features.requires_grad:
                features.square().sum().backward()
            found["gradient of the layer's weights"] = model.get_submodule(name).weight.grad
    return found


@define(
    "04.feature_hook",
    goal="Run the model once and return what the named layer gave out, as it was then. Leave no hook behind.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("model.get_submodule(name) is the layer; its register_forward_hook(f) calls f(module, inputs, output) at each run.",
           "The hook puts output.clone() into a list: an in-place ReLU writes over the output. A clone keeps its gradient.",
           "Keep what register_forward_hook returns: handle.remove() after the run takes the hook away again."),
    probe=_what_a_hook_gives,
)  # fmt: skip
def feature_hook(model, name, images):
    kept = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    try:
        model(images)
    finally:
        handle.remove()
    return kept[0]


@feature_hook.mistake(
    "the hook stays", "It goes on at every later run, and keeps what it holds in memory: call the handle's remove()."
)
def _hook_stays(model, name, images):
    kept = []
    model.get_submodule(name).register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    model(images)
    return kept[0]


@feature_hook.mistake(
    "the input in place of the output",
    "A hook is given both, (module, inputs, output): the last is what the layer made.",
)
def _its_input(model, name, images):
    kept = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: kept.append(inputs[0].clone())
    )
    model(images)
    handle.remove()
    return kept[0]


@feature_hook.mistake(
    "the output is detached",
    "A loss on it would move nothing: no gradient reaches the student. clone() alone keeps the way back.",
)
def _cut_off(model, name, images):
    return feature_hook(model, name, images).detach()


@feature_hook.mistake(
    "the value is written over",
    "An in-place ReLU behind the layer writes into the same memory, and you are left with its output: clone() in the hook.",
)
def _written_over(model, name, images):
    kept = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: kept.append(output))
    model(images)
    handle.remove()
    return kept[0]


@feature_hook.mistake(
    "detached, and written over",
    "A detached output lies in the same memory, so an in-place ReLU changes it too; and no gradient reaches the student. "
    "clone() alone does both.",
)
def _detached_and_written_over(model, name, images):
    return _written_over(model, name, images).detach()


@feature_hook.mistake(
    "the hook stays, and the value is written over",
    "Two things: clone() the output in the hook, and call the handle's remove() after the run.",
)
def _stays_and_written_over(model, name, images):
    kept = []
    model.get_submodule(name).register_forward_hook(lambda module, inputs, output: kept.append(output))
    model(images)
    return kept[0]


def _hints(answer) -> dict[str, object]:
    """The loss, and where its gradient goes: the student's maps, the regressor, and not the teacher's maps."""
    found: dict[str, object] = {}
    for number, (pictures, channels, side) in enumerate([(2, 3, 5), (3, 4, 3)], start=1):
        with seeded_rng(number):
            regressor = nn.Conv2d(channels, channels, 1)  # alike, so that it can be left out or put on the wrong side
        student = _maps(30 + number, pictures, channels, side, side).requires_grad_()
        teacher = _maps(40 + number, pictures, channels, side, side).requires_grad_()
        loss = filled(answer(student, teacher, regressor))
        found[f"loss in case {number}"] = loss
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            continue
        if loss.requires_grad:
            loss.backward()
        found[f"student's gradient in case {number}"] = student.grad
        found[f"regressor's gradient in case {number}"] = regressor.weight.grad
        reached = teacher.grad is not None and bool(teacher.grad.abs().max() > 0)
        found[f"gradient into the teacher in case {number}"] = reached
    return found


@define(
    "04.hint",
    goal="FitNets' hint: mean squared error between regressor(student's maps) and the teacher's; no gradient into the teacher.",
    difficulty="easy",
    minutes="four minutes",
    hints=("The regressor is a module: call it on the student's maps, and they have the teacher's channels.",
           "F.mse_loss takes the mean over pictures, channels and positions.",
           "Detach the teacher's maps; the regressor must get its gradient."),
    probe=_hints,
)  # fmt: skip
def hint(student_features, teacher_features, regressor):
    return F.mse_loss(regressor(student_features), teacher_features.detach())


@hint.mistake(
    "the regressor on the teacher's side",
    "Then the teacher is brought to the student, and the easiest guess is a regressor of zeros: it belongs to the student.",
)
def _of_the_teacher(student_features, teacher_features, regressor):
    return F.mse_loss(student_features, regressor(teacher_features.detach()))


@hint.mistake("the teacher is not detached", "The teacher's maps are the target: .detach() them.")
def _hint_moves_teacher(student_features, teacher_features, regressor):
    return F.mse_loss(regressor(student_features), teacher_features)


@hint.mistake(
    "the sum, not the mean", "A sum grows with the batch and the layer's size, and the weight would not fit any more."
)
def _summed_hint(student_features, teacher_features, regressor):
    return F.mse_loss(regressor(student_features), teacher_features.detach(), reduction="sum")


@hint.mistake(
    "no regressor", "Then the channels themselves are compared, one by one: let the regressor guess the teacher's."
)
def _no_regressor(student_features, teacher_features, regressor):
    return F.mse_loss(student_features, teacher_features.detach())


@hint.mistake(
    "the regressor gets no gradient",
    "The student then imitates through a random projection: the regressor must learn too.",
)
def _frozen_regressor(student_features, teacher_features, regressor):
    frozen = F.conv2d(student_features, regressor.weight.detach(), regressor.bias.detach())
    return F.mse_loss(frozen, teacher_features.detach())
