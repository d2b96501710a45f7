"""The exercises of lab 14, Distil a real classifier."""

import torch
from torch import nn

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import as_tensor, filled, several
from kdcourse.system.generators import fork_rng, seeded_rng


def _trained() -> nn.Module:
    """A classifier for five classes that has learnt something."""
    with seeded_rng(0):
        model = nn.Sequential()
        model.body = nn.Linear(3, 4)
        model.classifier = nn.Linear(4, 5)
    return model


def _head(answer) -> dict[str, object]:
    before, model = _trained(), _trained()
    with fork_rng():
        changed = filled(answer(model, 2))
    if not (hasattr(changed, "body") and hasattr(changed, "classifier")):
        return {"the model still has its body and its classifier": False}
    last = [layer for layer in changed.modules() if isinstance(layer, nn.Linear)][-1]
    logits = changed(torch.tensor([[1.0, 1.0, 1.0], [0.0, -2.0, 3.0], [5.0, 0.0, 0.0]]))
    body, old = changed.body.state_dict(), before.body.state_dict()
    return {
        "the model still has its body and its classifier": True,
        "logits of three pictures": torch.tensor(logits.shape),
        "inputs of the last layer": torch.tensor(last.in_features),
        "the body is what it was": body.keys() == old.keys() and all(torch.equal(body[key], old[key]) for key in old),
        "the body can go on learning": all(one.requires_grad for one in changed.body.parameters()),
        "the head can learn": all(one.requires_grad for one in changed.classifier.parameters()),
        "the head is fresh": not torch.equal(last.weight, before.classifier.weight[: len(last.weight)]),
        "the answers are probabilities": bool(
            (logits >= 0).all() and torch.isclose(logits.sum(1), torch.ones(3)).all()
        ),
        "the classifier is one linear layer": isinstance(changed.classifier, nn.Linear),
    }


@define(
    "14.new_head",
    goal="Replace model.classifier, the last linear layer, by a fresh one for these classes; the body stays and learns on.",
    difficulty="easy",
    minutes="five minutes",
    hints=("model.classifier.in_features says how many numbers the body gives.",
           "Assign a new torch.nn.Linear to model.classifier, and return the model."),
    probe=_head,
)  # fmt: skip
def new_head(model, classes):
    model.classifier = torch.nn.Linear(model.classifier.in_features, classes)
    return model


@new_head.mistake(
    "a layer on top of the old head", "Your classes would have to be read from its old answers: take the old head away."
)
def _on_top(model, classes):
    model.classifier = nn.Sequential(model.classifier, nn.Linear(model.classifier.out_features, classes))
    return model


@new_head.mistake("the old head, cut down", "Its first rows stand for other classes than yours.")
def _cut(model, classes):
    old, model.classifier = model.classifier, nn.Linear(model.classifier.in_features, classes)
    model.classifier.weight.data = old.weight.data[:classes].clone()
    return model


@new_head.mistake("a softmax behind the head", "The losses take logits, and have the softmax within: nn.Linear alone.")
def _probabilities(model, classes):
    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, classes), nn.Softmax(dim=1))
    return model


@new_head.mistake("the head is frozen", "A fresh layer knows nothing yet: it must learn, whatever else does.")
def _frozen_head(model, classes):
    new_head.reference(model, classes).classifier.requires_grad_(False)
    return model


@new_head.mistake("the body is made anew", "What it has learnt is what you came for: replace the last layer only.")
def _anew(model, classes):
    new_head.reference(model, classes).body.reset_parameters()
    return model


@new_head.mistake("the body is frozen", "That is a choice too, and cheaper; here the body is to go on learning.")
def _frozen(model, classes):
    new_head.reference(model, classes).body.requires_grad_(False)
    return model


def _counted():
    """Pictures, and an augmentation whose every call gives something else."""
    calls = []

    def augment(images):
        calls.append(1)
        return images + 100 * len(calls)

    return torch.arange(2.0 * 12).view(2, 3, 2, 2), augment


def _draws(views: object, pictures: torch.Tensor) -> torch.Tensor | None:
    """Which call of augment each view comes from, 0 for the whole picture; None for what are no views of these pictures."""
    views = as_tensor(views)
    if views is None or views.shape != pictures.shape:
        return None
    draws = (views - pictures).flatten(1) / 100
    return draws[:, 0] if bool((draws == draws[:, :1]).all()) else None


def _agree(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    return given.shape == wanted.shape and torch.allclose(given, wanted, rtol=1e-4)


def _view(answer) -> dict[str, object]:
    """One draw of each picture is as good as one of all: then the views of the first draw stand for them."""
    pictures, augment = _counted()
    with seeded_rng(0):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()
    views, logits = several(answer(pictures, teacher, augment))
    reached, draws = logits.requires_grad, _draws(views, pictures)
    if draws is not None and bool((draws >= 1).all()) and _agree(logits, teacher(views)):
        views, logits = pictures + 100, teacher(pictures + 100)
    found = {"views": views, "teacher's logits": logits, "a gradient can reach the teacher": reached}
    return {**found, "the teacher stays in evaluation mode": not teacher.training}


@define(
    "14.same_view",
    goal="One view of each picture, and what the teacher says of that very view: (views, teacher_logits).",
    difficulty="moderate",
    minutes="six minutes",
    hints=("Call augment once and keep what it gives.",
           "The teacher is only asked: torch.no_grad()."),
    probe=_view,
)  # fmt: skip
def same_view(pictures, teacher, augment):
    views = augment(pictures)
    with torch.no_grad():
        return views, teacher(views)


@same_view.mistake(
    "the teacher sees the whole picture",
    "Answers that were cached before augmentation are like that: the student is told of things that are not in its view.",
)
def _whole(pictures, teacher, augment):
    with torch.no_grad():
        return augment(pictures), teacher(pictures)


@same_view.mistake("two draws", "Each call of augment gives another view: call it once, use it twice.")
def _twice(pictures, teacher, augment):
    with torch.no_grad():
        return augment(pictures), teacher(augment(pictures))


@same_view.mistake("the student sees the whole picture", "Then only the teacher has been augmented.")
def _plain(pictures, teacher, augment):
    with torch.no_grad():
        return pictures, teacher(augment(pictures))


@same_view.mistake("the teacher's graph is kept", "Nothing is to be learnt there: ask it within torch.no_grad().")
def _graph(pictures, teacher, augment):
    views = augment(pictures)
    return views, teacher(views)


def _views(answer) -> dict[str, object]:
    """Each picture may be drawn by itself: what counts is that no two of its views come from one draw, or from a view."""
    pictures, augment = _counted()
    asked_about = []

    def watched(images):
        asked_about.append(float(images.max()))
        return augment(images)

    views, labels = several(answer(pictures, torch.tensor([7, 8]), watched, 3))
    draws = _draws(views, pictures.repeat(3, 1, 1, 1))
    if draws is not None and max(asked_about) < 100:
        rounds = draws.view(3, 2)
        if bool((rounds >= 1).all()) and all(len(one.unique()) == 3 for one in rounds.T):
            views = torch.cat([pictures + 100 * number for number in (1, 2, 3)])
    return {"views": views, "labels": labels}


@define(
    "14.fixed_views",
    goal="`count` views of each picture, drawn once, and their labels: all first views, then all second ones, and so on.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("torch.cat joins the views that `count` calls of augment give.",
           "Labels in the same order: labels.repeat(count)."),
    probe=_views,
)  # fmt: skip
def fixed_views(images, labels, augment, count):
    views = torch.cat([augment(images) for _ in range(count)])
    return views, labels.repeat(count)


@fixed_views.mistake(
    "labels out of step with the views", "repeat_interleave gives a a b b, and the views come as a b a b."
)
def _interleaved(images, labels, augment, count):
    return torch.cat([augment(images) for _ in range(count)]), labels.repeat_interleave(count)


@fixed_views.mistake("one view, copied", "Call augment anew for every view.")
def _copied(images, labels, augment, count):
    return augment(images).repeat(count, 1, 1, 1), labels.repeat(count)


@fixed_views.mistake("views of views", "Each view is cut from the picture, not from the view before.")
def _nested(images, labels, augment, count):
    views = [augment(images)]
    for _ in range(count - 1):
        views.append(augment(views[-1]))
    return torch.cat(views), labels.repeat(count)


@fixed_views.mistake(
    "the pictures among their views", "All `count` rounds are views; the whole pictures are not asked for."
)
def _with_originals(images, labels, augment, count):
    return torch.cat([images, *(augment(images) for _ in range(count - 1))]), labels.repeat(count)


def _pixels() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (2, 4, 5, 3), generator=generator, dtype=torch.uint8)
    return [(pictures, torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.3]))]


@define(
    "14.from_pixels",
    goal="Pictures as a camera gives them, uint8 (N, H, W, 3), to what the network was trained on: (N, 3, H, W), standardised.",
    difficulty="moderate",
    minutes="five minutes",
    hints=("mean and std (3,) were measured on pictures within [0, 1]: divide by 255 first.",
           "Colours are last, where mean and std fit by broadcasting; then permute(0, 3, 1, 2)."),
    cases=_pixels,
)  # fmt: skip
def from_pixels(pixels, mean, std):
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


@from_pixels.mistake(
    "not divided by 255", "mean and std belong to pictures within [0, 1]; everything would look white."
)
def _raw(pixels, mean, std):
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


@from_pixels.mistake("divided by 255 at the end", "Divide before mean and std, which were measured after it.")
def _late(pixels, mean, std):
    return ((pixels - mean) / std / 255).permute(0, 3, 1, 2)


@from_pixels.mistake(
    "the batch's own mean and deviation",
    "One dark photograph would be made as bright as all others: use the training split's.",
)
def _own(pixels, mean, std):
    shares = pixels / 255
    return ((shares - shares.mean(dim=(0, 1, 2))) / shares.std(dim=(0, 1, 2))).permute(0, 3, 1, 2)


@from_pixels.mistake(
    "reshaped, not permuted", "The shape is right and every pixel in the wrong place: permute moves the axes."
)
def _reshaped(pixels, mean, std):
    count, height, width, colours = pixels.shape
    return ((pixels / 255 - mean) / std).reshape(count, colours, height, width)


# How sure a model is of ten pictures, and what it is right about: one that is too sure, and one that is not sure enough.
_SURE = torch.tensor([0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4])
_RIGHT = {
    "too sure": torch.tensor([0, 1, 1, 1, 1, 0, 1, 0, 0, 0], dtype=torch.bool),
    "not sure enough": torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], dtype=torch.bool),
}
_COSTS = (("too sure", 4.0, 1.0), ("too sure", 4.0, 3.0), ("too sure", 1.0, 1.5), ("not sure enough", 5.0, 1.0))


def _threshold(answer) -> dict[str, object]:
    """Any number between two confidences is the same threshold: what counts is which pictures are answered."""
    found = {}
    for name, error, asking in _COSTS:
        threshold = as_tensor(filled(answer(_SURE.clone(), _RIGHT[name].clone(), error, asking)))
        one = threshold is not None and threshold.numel() == 1 and threshold.dtype != torch.bool
        case = f"model {name}, costs {error:g} and {asking:g}"
        found[f"one number, {case}"] = one
        found[f"which pictures are answered, {case}"] = _SURE.ge(threshold.reshape(())) if one else None
    return found


@define(
    "14.cheapest_threshold",
    goal="The threshold with the lowest total cost: error for each wrong answer that is given, asking for each picture below it.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Candidates are the confidences themselves, and one number above 1: there nothing is answered.",
           "answered = confidence >= candidates[:, None] has a row for each candidate; right tells which answers are wrong.",
           "error * (answered & ~right).sum(dim=1) + asking * (~answered).sum(dim=1), then argmin."),
    probe=_threshold,
)  # fmt: skip
def cheapest_threshold(confidence, right, error, asking):
    candidates = torch.cat([confidence.unique(), confidence.new_tensor([2.0])])
    answered = confidence >= candidates[:, None]  # a row for each candidate
    costs = error * (answered & ~right).sum(dim=1) + asking * (~answered).sum(dim=1)
    return candidates[costs.argmin()]


@cheapest_threshold.mistake(
    "asking is free", "Then nobody would ever be answered: each picture below the threshold costs somebody's time."
)
def _free(confidence, right, error, asking):
    return cheapest_threshold(confidence, right, error, 0 * asking)


@cheapest_threshold.mistake(
    "the most accurate answers",
    "The surest answers are the best ones, and there are few of them: count what the rest costs.",
)
def _accurate(confidence, right, error, asking):
    answered = confidence >= confidence.unique()[:, None]
    return confidence.unique()[((answered & right).sum(dim=1) / answered.sum(dim=1)).argmax()]


@cheapest_threshold.mistake(
    "mistakes that nobody is told are paid for",
    "A picture that goes to a person has no wrong answer: count the answered ones.",
)
def _unseen(confidence, right, error, asking):
    candidates = confidence.unique()
    return candidates[(asking * (confidence < candidates[:, None]).sum(dim=1)).argmin()]


@cheapest_threshold.mistake(
    "answered below the threshold", "The model answers where it is sure: confidence >= threshold."
)
def _below(confidence, right, error, asking):
    candidates = torch.cat([confidence.unique(), confidence.new_tensor([2.0])])
    answered = confidence < candidates[:, None]
    costs = error * (answered & ~right).sum(dim=1) + asking * (~answered).sum(dim=1)
    return candidates[costs.argmin()]


@cheapest_threshold.mistake(
    "the two costs exchanged", "error is paid for wrong answers, asking for pictures below the threshold."
)
def _exchanged(confidence, right, error, asking):
    return cheapest_threshold(confidence, right, asking, error)


@cheapest_threshold.mistake(
    "Chow's rule",
    "1 − asking / error is right for true probabilities. Nobody has told you that these are: look who is right.",
)
def _chow(confidence, right, error, asking):
    return 1 - asking / error
