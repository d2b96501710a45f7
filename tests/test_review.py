"""`kd.audit` names losses, `kd.diagnose` set-ups: each planted fault by its name, and nothing where nothing is wrong."""

import copy
import dataclasses
import json
from functools import cache, partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kdcourse as kd
from kdcourse.data import images
from kdcourse.exercises import exercise
from kdcourse.losses import response
from kdcourse.review import audit, diagnose, found
from kdcourse.review.report import Finding
from tests.public_losses.transcriptions import TRANSCRIPTIONS

VERDICTS = json.loads((Path(__file__).parent / "public_losses" / "verdicts.json").read_text(encoding="utf-8"))


def log_q(student, T=4.0):
    return F.log_softmax(student / T, 1)


def p(teacher, T=4.0):
    return F.softmax(teacher.detach() / T, 1)


# audit: mistakes


@pytest.mark.parametrize("identity", ["03.soft_target", "03.distillation", "13.forward_kl"])
def test_the_exercises_mistakes_have_their_names(identity):
    card = exercise(identity)
    assert audit(card.reference).faults == []
    unlike = "this is not KL, and none that is known here"
    known_otherwise = {
        "a mean over the vocabulary": ["the default reduction"],
        "KL the other way round": ["the arguments of KL are swapped"],
        "softmax over the wrong dimension": [unlike],
        "softmax twice": [unlike],
        "softmax twice on the student": [unlike],
        "log_softmax of a softmax": ["softmax twice on the student"],
        "squared error of probabilities": ["this is not KL: mean squared error of the probabilities"],
        "the sum over the batch": ['reduction="sum"'],
        "the sum over tokens": ['reduction="sum"'],
        "not averaged": ["no reduction"],
        "T in place of T²": ["T instead of T²"],
        "the temperature is ignored": ["temperature on neither side"],
        "the student's logits are raw": ["no softmax on the student"],
        "the teacher's logits are raw": ["no softmax on the teacher"],
        "KL on clipped logits": ["KL on raw logits"],
        "alpha on the labels' part only": ["other weights than alpha and 1 − alpha"],
        "T² on the labels' part too": ["other weights than alpha and 1 − alpha"],
        "no alpha": ["other weights than alpha and 1 − alpha"],
        "the labels are left out": ["a constant weight"],
        "T² left out, with the default reduction": ["T² left out", "the default reduction"],
        "T² left out, with cross-entropy in place of KL": ["T² left out", "cross-entropy in place of KL"],
        "alpha the other way round, and T² left out": ["alpha the other way round", "T² left out"],
        "alpha the other way round, with the default reduction": ["alpha the other way round", "the default reduction"],
    }
    for mistake in card.mistakes:
        names = audit(mistake.function).names
        assert mistake.name in names or set(known_otherwise[mistake.name]) <= set(names)


MISTAKES = {
    "no T² and default reduction": (
        lambda student, teacher, T: (p(teacher, T) * (p(teacher, T).log() - log_q(student, T))).mean(),
        ["T² left out", "the default reduction"],
    ),
    "T³": (lambda student, teacher, T: T * response.soft_target(student, teacher, temperature=T), ["T³ instead of T²"]),
    "a sum": (
        lambda student, teacher, T: T**2 * F.kl_div(log_q(student, T), p(teacher, T), reduction="sum"),
        ['reduction="sum"'],
    ),
    "T instead of T²": (
        lambda student, teacher, T: T * F.kl_div(log_q(student, T), p(teacher, T), reduction="batchmean"),
        ["T instead of T²"],
    ),
    "raw logits": (
        lambda student, teacher, T: T**2 * (teacher * (teacher - student) / T).sum(1).mean(),
        ["KL on raw logits"],
    ),
    "no log_target": (
        lambda student, teacher, T: T**2 * F.kl_div(log_q(student, T), p(teacher, T).log(), reduction="batchmean"),
        ["log-probabilities as target", "the value is no number"],
    ),
    "neither side softened": (
        lambda student, teacher, T: T**2 * F.kl_div(log_q(student, 1), p(teacher, 1), reduction="batchmean"),
        ["temperature on neither side"],
    ),
    "over the batch": (
        lambda student, teacher, T: (
            T**2 * F.kl_div(F.log_softmax(student / T, 0), F.softmax(teacher.detach() / T, 0), reduction="batchmean")
        ),
        ["softmax over the batch"],
    ),
    "percent": (
        lambda student, teacher, labels, T, alpha: (
            alpha / 100 * response.soft_target(student, teacher, temperature=T)
            + (1 - alpha / 100) * F.cross_entropy(student, labels)
        ),
        ["percent for share"],
    ),
    "the teacher left out": (
        lambda student, teacher, labels: F.cross_entropy(student, labels),
        ["the teacher appears nowhere"],
    ),
    "logits against probabilities": (
        lambda student, teacher, T: F.mse_loss(student, p(teacher, T)),
        ["logits against probabilities"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named(case):
    loss, names = MISTAKES[case]
    report = audit(loss)
    assert set(names) <= set(report.names), str(report)


def test_softmax_twice_is_named():
    def student_twice(student, teacher, T):
        return T**2 * F.kl_div(F.log_softmax((student / T).softmax(1), 1), p(teacher, T), reduction="batchmean")

    assert audit(student_twice).faults == ["softmax twice on the student"]


def test_two_mistakes_come_with_their_two_numbers():
    loss, _ = MISTAKES["no T² and default reduction"]
    numbers = {finding.name: finding.number for finding in audit(loss).findings}
    assert numbers["T² left out"] == pytest.approx(1 / 16)
    assert numbers["the default reduction"] == pytest.approx(1 / 5)


@pytest.mark.parametrize("temperature", [2.0, 3.3, 4.0, 7.0])
def test_a_hidden_temperature_is_found_out(temperature):
    right = audit(lambda student, teacher: response.soft_target(student, teacher, temperature=temperature))
    assert right.what.endswith(f"T = {temperature:g}") and not right.findings
    short = audit(
        lambda student, teacher: F.kl_div(log_q(student, temperature), p(teacher, temperature), reduction="batchmean")
    )
    assert short.faults == ["T² left out"]


def masked_mean(student, teacher, mask):
    each = F.kl_div(student.log_softmax(2), teacher.detach().softmax(2), reduction="none").sum(2)
    return (each * mask).sum() / mask.sum()


def test_what_a_mask_does_is_measured():
    assert not audit(masked_mean).findings
    ignored = audit(lambda student, teacher, mask: masked_mean(student, teacher, torch.ones_like(mask)))
    assert ignored.faults == ["padding counts"]
    diluted = audit(lambda student, teacher, mask: masked_mean(student, teacher, mask) * mask.sum() / mask.numel())
    assert diluted.names == ["padding is in the mean"]


# audit: no false alarm


class Wrapped(nn.Module):
    """A module with a temperature of its own that takes model outputs as dicts."""

    def __init__(self, T=3.0):
        super().__init__()
        self.T = T

    def forward(self, outputs, teacher_outputs):
        kl = F.kl_div(log_q(outputs["logits"], self.T), p(teacher_outputs["logits"], self.T), reduction="batchmean")
        return {"loss": self.T**2 * kl}


def by_hand(y_s, y_t, T):
    soft, other = (y_t.detach() / T).softmax(-1), (y_s / T).softmax(-1)
    return (
        T * T * sum((row * (row.log() - guess.log())).sum() for row, guess in zip(soft, other, strict=True)) / len(y_s)
    )


def symmetric(student, teacher, T):
    return (response.soft_target(student, teacher, temperature=T) + _reverse(student, teacher, T)) / 2


def _reverse(student, teacher, T):
    q, log_p = (student / T).softmax(1), (teacher.detach() / T).log_softmax(1)
    return T**2 * (q * (log_q(student, T) - log_p)).sum(1).mean()


RIGHT = {
    "log_target": lambda student, teacher, T: (
        T**2 * F.kl_div(log_q(student, T), p(teacher, T).log(), log_target=True, reduction="batchmean")
    ),
    "a module of a batch mean": nn.KLDivLoss(reduction="batchmean"),
    "a module of log targets": nn.KLDivLoss(reduction="batchmean", log_target=True),
    "a module that takes dicts": Wrapped(),
    "a mean by hand": by_hand,
    "sum divided by the batch": lambda s, t, temperature: (
        temperature**2 * F.kl_div(log_q(s, temperature), p(t, temperature), reduction="sum") / len(s)
    ),
    "soft labels for cross_entropy": lambda s, t, tau: tau**2 * F.cross_entropy(s / tau, p(t, tau)),
    "the teacher first": lambda teacher, student, T: response.soft_target(student, teacher, temperature=T),
    "DKD": response.decoupled,
    "JS": lambda student, teacher: kd.losses.generalized_jsd(student.unsqueeze(1), teacher.unsqueeze(1)),
    "squares of logits": lambda student, teacher: F.mse_loss(student, teacher.detach()),
    "half the squares of centred logits": lambda s, t: (
        (s - s.mean(1, True) - (t - t.mean(1, True)).detach()).square().sum(1).mean() / 2
    ),
    "standardised logits": response.standardized_soft_target,
    "both ways": symmetric,
    "a partial": partial(response.distillation, temperature=6.0, alpha=0.5),
    "cosine": lambda student, teacher: 1 - F.cosine_similarity(student, teacher.detach()).mean(),
    "Huber": lambda student, teacher: F.smooth_l1_loss(student, teacher.detach()),
    "the teacher's decisions": lambda student, teacher: F.cross_entropy(student, teacher.argmax(1)),
    "the teacher first, without names": lambda one, other: response.soft_target(other, one),
    "a value for each picture": lambda student, teacher, T: (
        T**2 * F.kl_div(log_q(student, T), p(teacher, T), reduction="none").sum(1)
    ),
    "y, labels, teacher": lambda y, labels, teacher_scores, T, alpha: response.distillation(
        y, teacher_scores, labels, temperature=T, alpha=alpha
    ),
    "DKD and labels": kd.Decoupled() + kd.HardTarget(),
    "logits and labels": kd.LogitMSE() * 0.5 + kd.HardTarget() * 0.5,
    "a skewed KL": lambda s, t, T: (
        (p(t, T) * (p(t, T).log() - (0.1 * p(t, T) + 0.9 * log_q(s, T).exp()).log())).sum(1).mean()
    ),
    "a weight": lambda student, teacher: 0.3 * response.soft_target(student, teacher),
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_loss_is_not_called_wrong(case):
    report = audit(RIGHT[case])
    assert report.faults == [], str(report)
    assert {finding.kind for finding in report.findings if finding.name != "the teacher is not detached"} <= {
        "note",
        "caution",
    }


def test_the_projects_own_losses_are_right():
    asked = (
        "soft_target distillation logit_mse decoupled correlation standardized_soft_target generalized_jsd label_smoothing "
        "rkd_distance rkd_angle similarity_preserving probabilistic_transfer correlation_congruence contrastive hint "
        "activation_boundary"
    )
    for name in asked.split():
        report = audit(getattr(kd.losses, name))
        assert report.faults == [], str(report)
        assert "the teacher is not detached" not in report.names


def test_the_projects_own_methods_are_right():
    layers = {"a": "a", "b": "b"}
    simple = [
        kd.methods.SoftTarget(),
        kd.methods.Distillation(2.0, 0.4),
        kd.methods.LogitMSE(),
        kd.methods.Decoupled(),
        kd.methods.Correlation(),
        kd.methods.StandardizedSoftTarget(),
        kd.methods.TokenDivergence(),
        kd.methods.TokenDivergence(beta=1.0),
        kd.methods.SoftTarget() * 0.9 + kd.methods.HardTarget() * 0.1,
    ]
    tapped = [
        kd.methods.AttentionTransfer,
        kd.methods.Hint,
        kd.methods.NeuronSelectivity,
        kd.methods.RelationalDistance,
        kd.methods.Flow,
    ]
    for method in [*simple, kd.methods.HardTarget(), *(kind(layers) for kind in tapped)]:
        assert audit(method).faults == [], method


def test_a_loss_stays_as_it_was():
    loss = Wrapped()
    audit(loss)
    assert loss.T == 3.0 and loss.training


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (3, "must be a function"),
        (nn.KLDivLoss, "must be made before"),
        (lambda student, teacher, wizard: student.sum(), "wizard"),
        (lambda student, teacher: 1.0, "must return a tensor"),
        (lambda student, teacher: student @ teacher, "could not be called"),
        (kd.methods.OnPolicy(), "asks the models themselves"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_words(loss, words):
    with pytest.raises(ValueError, match=words):
        audit(loss)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        audit(response.soft_target, temperature=0)
    with pytest.raises(ValueError, match="alpha must be a number"):
        audit(response.distillation, alpha="0.9")
    with pytest.raises(ValueError, match="takes must be"):
        audit(response.soft_target, takes="pixels")
    with pytest.raises(ValueError, match="kind must be one of"):
        Finding("a", 1.0, "b", "c", kind="woe")


def test_a_report_reads_as_words():
    report = audit(MISTAKES["a sum"][0])
    assert "Wrong: reduction=" in str(report) and "batchmean" in str(report)
    assert report._repr_markdown_().startswith("**") and "- Wrong: **reduction" in report._repr_markdown_()


# audit: what a loss holds, returns and calls


def kl(student, teacher, T):
    return F.kl_div(log_q(student, T), p(teacher, T), reduction="batchmean")


class Scaled:
    """Holds T² beside T."""

    def __init__(self, T=4.0):
        self.T, self.scale = T, T * T

    def __call__(self, student, teacher):
        return self.scale * kl(student, teacher, self.T)


class Within(nn.Module):
    """Holds a T that only its part listens to."""

    def __init__(self, T=3.0):
        super().__init__()
        self.T, self.part = T, Scaled(T)

    def forward(self, student, teacher):
        return self.part(student, teacher)


class ReadOnly:
    """Holds a T that cannot be set, and lacks T²."""

    T = property(lambda self: 3.0)

    def __call__(self, student, teacher):
        return kl(student, teacher, self.T)


class Learnt(nn.Module):
    """Holds T as a parameter."""

    def __init__(self, T=3.0):
        super().__init__()
        self.T = nn.Parameter(torch.tensor(T))

    def forward(self, student, teacher):
        return self.T**2 * kl(student, teacher, self.T)


@dataclasses.dataclass(frozen=True)
class Frozen:
    T: float = 3.0
    squared: bool = True

    def __call__(self, student, teacher):
        return (self.T**2 if self.squared else 1.0) * kl(student, teacher, self.T)


class Shares:
    """Holds 1 − alpha beside alpha."""

    def __init__(self, alpha=0.7):
        self.alpha, self.beta = alpha, 1 - alpha

    def __call__(self, student, teacher, labels):
        return self.alpha * 16 * kl(student, teacher, 4.0) + self.beta * F.cross_entropy(student, labels)


@pytest.mark.parametrize("loss", [Scaled(), Scaled(1.0), Within(), ReadOnly()])
def test_t_squared_is_not_judged_where_t_cannot_be_varied(loss):
    report = audit(loss)
    assert report.what == "KL(teacher ‖ student)" and report.faults == []
    (finding,) = (one for one in report.findings if one.name == "the temperature could not be varied")
    assert "lambda student, teacher, temperature:" in finding.mend


def test_t_squared_is_judged_where_a_held_t_can_be_varied():
    assert audit(Learnt()).findings == () and audit(Frozen()).findings == ()
    assert audit(Frozen(squared=False)).faults == ["T² left out"]
    assert audit(Scaled(2.0), temperature=2.0).faults == audit(Scaled(), temperature=2.0).faults == []
    argument = audit(lambda student, teacher, temperature: Scaled(temperature)(student, teacher))
    assert argument.findings == ()


def test_a_share_that_is_held_twice_is_not_judged():
    assert audit(Shares()).names == ["alpha could not be varied"]


def parts(student, teacher, labels):
    return 16 * kl(student, teacher, 4.0), F.cross_entropy(student, labels)


@pytest.mark.parametrize(
    "loss",
    [
        parts,
        lambda student, teacher, labels: list(parts(student, teacher, labels)),
        lambda student, teacher, labels: dict(zip(("kd", "ce"), parts(student, teacher, labels), strict=True)),
        lambda student, teacher, labels: (sum(parts(student, teacher, labels)), *parts(student, teacher, labels)),
    ],
    ids=["tuple", "list", "dict", "sum and parts"],
)
def test_several_losses_are_refused_in_words(loss):
    with pytest.raises(
        ValueError, match=r"^loss must return one number, got \d parts of which \d may be the loss; pass"
    ):
        audit(loss)


@pytest.mark.parametrize(
    "loss",
    [
        lambda student, teacher, labels: {"ce": 0.0, "loss": sum(parts(student, teacher, labels))},
        lambda student, teacher, labels: (sum(parts(student, teacher, labels)), student),
        lambda student, teacher, labels: (
            *(part.detach() for part in parts(student, teacher, labels)),
            sum(parts(student, teacher, labels)),
        ),
    ],
    ids=["named", "with logits", "what is logged before it"],
)
def test_the_only_loss_of_several_entries_is_audited(loss):
    assert audit(loss).what == "KL(teacher ‖ student), at T = 4 + cross-entropy with the labels"


def test_exchanged_arguments_are_named():
    card = exercise("03.soft_target").reference
    assert audit(lambda student, teacher: card(teacher, student, 4.0)).faults == ["student and teacher are exchanged"]
    assert audit(lambda s, t, T: card(t, s, T)).faults == ["student and teacher are exchanged"]
    detached = audit(lambda student, teacher: kl(student.detach(), teacher.detach(), 4.0) + 0 * student.sum())
    assert detached.faults == ["no gradient reaches the student"]
    assert audit(lambda student, teacher, labels: F.cross_entropy(teacher, labels)).faults == [
        "the student appears nowhere"
    ]


@pytest.mark.parametrize("side", [lambda student, teacher: teacher, lambda student, teacher: student.detach()])
def test_labels_that_do_not_reach_the_student_are_named(side):
    def mixed(student, teacher, labels, temperature=4.0, alpha=0.9):
        soft = response.soft_target(student, teacher, temperature=temperature)
        return alpha * soft + (1 - alpha) * F.cross_entropy(side(student, teacher), labels)

    assert audit(mixed).faults == ["the labels' part does not reach the student"]


# audit: public losses


@pytest.mark.parametrize("name", VERDICTS)
def test_a_transcription_is_judged_as_the_public_loss_was(name):
    report = audit(TRANSCRIPTIONS[name])
    assert report.what == VERDICTS[name]["what"]
    assert report.names == list(VERDICTS[name]["findings"])


def test_at_least_twelve_public_losses_are_stored_with_their_versions():
    assert len(VERDICTS) >= 12 and all(verdict["version"] for verdict in VERDICTS.values())
    assert set(VERDICTS) == set(TRANSCRIPTIONS)


# the five of lab 03


def test_the_published_mistakes_of_lab_03_are_named():
    assert audit(found.from_a_framework).faults == ["KL on raw logits", "T² left out"]
    assert audit(found.from_a_default).faults == ["T² left out", "the default reduction"]
    assert audit(found.from_a_recipe).names == ["alpha the other way round"]
    data, teacher, student = healthy("glyphs", 0)
    assert diagnose(student, teacher, data, step=found.from_a_loop).faults == ["the teacher is left in training mode"]
    kept = found.from_a_cache(teacher, data.train)
    assert diagnose(student, teacher, data, teacher_logits=kept).faults == [
        "the cache is out of step with the pictures"
    ]


# diagnose


@cache
def pictures(name):
    if name == "glyphs":  # as many as are looked at, which are drawn in a second
        images._load.cache_clear()
        with mock.patch.dict(images.GLYPHS, train=4000, validation=600, test=100):
            data = kd.load_images(name, device="cpu")
        images._load.cache_clear()
        return data
    data = kd.load_images(name, device="cpu")
    return dataclasses.replace(
        data, train=data.train.take(torch.arange(4000)), validation=data.validation.take(torch.arange(600))
    )


@cache
def teacher_of(name):
    return kd.zoo.teacher("perceptron", pictures(name), announce=False)


def trained(name, seed, steps=300, **options):
    data, teacher = pictures(name), teacher_of(name)
    student = kd.models.perceptron((64,), seed=seed)
    kd.train(
        student,
        data.train,
        kd.Distillation(),
        teacher=teacher_cache(name),
        steps=steps,
        order_seed=seed,
        progress=False,
        **options,
    )
    return data, teacher, student


@cache
def teacher_cache(name):
    return kd.TeacherCache(teacher_of(name))


@cache
def healthy(name, seed):
    return trained(name, seed)


@pytest.mark.parametrize("name", ["glyphs", "fashion-mnist"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_healthy_set_up_gives_no_finding(name, seed):
    data, teacher, student = healthy(name, seed)
    before = copy.deepcopy(student.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3)
    kept = teacher_cache(name).logits(data.train)
    report = diagnose(
        student,
        teacher,
        data,
        method=kd.Distillation(),
        optimizer=optimizer,
        teacher_logits=kept,
        step=exercise("03.training_step").reference,
        history=[2.0] * 20 + [1.0] * 20,
    )
    assert report.findings == (), str(report)
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert str(diagnose(student, teacher, data, count=200)) == str(kd.diagnose(student, teacher, data, count=200))


@pytest.mark.parametrize("method", [kd.LogitMSE(), kd.Decoupled(), kd.SoftTarget() * 0.5 + kd.HardTarget() * 0.5])
def test_a_student_of_another_method_gives_no_finding(method):
    data, teacher = pictures("fashion-mnist"), teacher_cache("fashion-mnist")
    student = kd.models.perceptron((64,), seed=1)
    history = kd.train(student, data.train, method, teacher=teacher, steps=400, progress=False)
    assert diagnose(student, teacher, data, method=method, history=history, count=256).findings == ()


def changed(part, **what):
    """The set-up with one split changed."""

    def plant(setting):
        split = getattr(setting["data"], part)
        changes = {name: change(getattr(split, name)) for name, change in what.items()}
        setting["data"] = dataclasses.replace(setting["data"], **{part: dataclasses.replace(split, **changes)})

    return plant


def given(**what):
    """The set-up with something told, each made from the set-up."""
    return lambda setting: setting.update({name: make(setting) for name, make in what.items()})


class Ending(nn.Module):
    """A model with something after it."""

    def __init__(self, model, end):
        super().__init__()
        self.model, self.end = model, end

    def forward(self, images):
        return self.end(self.model(images))


def ending(who, end):
    return lambda setting: setting.update({who: Ending(setting[who], end).eval()})


def mode(who, kind=nn.Module):
    def plant(setting):
        setting[who] = copy.deepcopy(setting[who])
        for module in setting[who].modules():
            if isinstance(module, kind):
                module.training = True

    return plant


def habit(name):
    return given(step=lambda s: next(m.function for m in exercise("03.training_step").mistakes if m.name == name))


ORDER = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
FAULTS = {
    "the teacher is in training mode": mode("teacher"),
    "the teacher's dropout is on": mode("teacher", nn.Dropout),
    "the teacher is no better than the student": lambda s: s.update(teacher=trained("glyphs", 1, steps=60)[2]),
    "the teacher is at chance": lambda s: s.update(teacher=kd.models.perceptron((64,), seed=9).eval()),
    "the teacher gives probabilities, not logits": ending("teacher", nn.Softmax(1)),
    "the student gives probabilities, not logits": ending("student", nn.Softmax(1)),
    "the teacher's answers are no numbers": ending("teacher", lambda logits: logits / 0),
    "different numbers of classes": ending("student", lambda logits: logits[:, :8]),
    "classes permuted": ending("teacher", lambda logits: logits[:, ORDER]),
    "labels shifted": changed("train", labels=lambda labels: labels.roll(1)),
    "training labels are noisy": changed(
        "train", labels=lambda labels: labels.where(torch.arange(len(labels)) % 3 > 0, labels.flip(0))
    ),
    "labels beyond the classes": changed("train", labels=lambda labels: labels + 1),
    "a class is missing from training": lambda s: s.update(
        data=dataclasses.replace(s["data"], train=s["data"].train.without(3))
    ),
    "validation pictures are in the training split": lambda s: s.update(
        data=dataclasses.replace(s["data"], validation=s["data"].train.take(torch.arange(600)))
    ),
    "the teacher's preprocessing differs": given(teacher_preprocess=lambda s: lambda maps: -maps),
    "the student's preprocessing differs": given(preprocess=lambda s: lambda maps: maps.transpose(2, 3)),
    "training and validation pictures are prepared differently": changed("train", images=lambda maps: maps * 0.5 + 0.5),
    "the cache is out of step with the pictures": given(
        teacher_logits=lambda s: teacher_cache("glyphs").logits(s["data"].train)[torch.randperm(4000)]
    ),
    "the cache is another teacher's": given(teacher_logits=lambda s: kd.measure.predict(s["student"], s["data"].train)),
    "the cache holds probabilities, not logits": given(
        teacher_logits=lambda s: teacher_cache("glyphs").logits(s["data"].train).softmax(1)
    ),
    "the cache has another size": given(
        teacher_logits=lambda s: teacher_cache("glyphs").logits(s["data"].train)[:3000]
    ),
    "cached answers of pictures that change": given(
        teacher_logits=lambda s: teacher_cache("glyphs").logits(s["data"].train),
        augment=lambda s: lambda maps, generator: maps.flip(3),
    ),
    "T² left out": given(
        loss=lambda s: lambda student, teacher, T: F.kl_div(log_q(student, T), p(teacher, T), reduction="batchmean")
    ),
    "alpha the other way round": given(loss=lambda s: found.from_a_recipe, alpha=lambda s: 0.9),
    "the method asks no teacher": given(method=lambda s: kd.HardTarget()),
    "the labels weigh more than the teacher": given(method=lambda s: kd.Distillation(alpha=0.1)),
    "the teacher is left in training mode": habit("the teacher is left in training mode"),
    "the teacher is not frozen": habit("the teacher is not frozen"),
    "the teacher's graph is kept": habit("the teacher's graph is kept"),
    "zero_grad is missing": habit("zero_grad is missing"),
    "the student's weights never move": habit("the student's weights never move"),
    "the student is in evaluation mode": habit("the student is in evaluation mode"),
    "the optimiser lacks the student's weights": given(
        optimizer=lambda s: torch.optim.SGD(copy.deepcopy(s["student"]).parameters(), lr=0.1)
    ),
    "the optimiser holds the teacher's weights": given(
        optimizer=lambda s: torch.optim.SGD([*s["student"].parameters(), *s["teacher"].parameters()], lr=0.1)
    ),
    "the learning rate is 0": given(optimizer=lambda s: torch.optim.SGD(s["student"].parameters(), lr=0.0)),
    "training diverged": given(history=lambda s: [1.0, 2.0, float("nan")]),
    "the loss does not fall": given(history=lambda s: [1.0] * 40),
    "frozen student": lambda s: s.update(student=copy.deepcopy(s["student"]).requires_grad_(False)),
    "student and teacher share weights": lambda s: s.update(student=s["teacher"]),
    "the student has learnt nothing": lambda s: s.update(student=kd.models.perceptron((64,), seed=9).eval()),
    "the student overfits": lambda s: s.update(student=overfitted()),
    "budget too small": lambda s: s.update(student=trained("glyphs", 0, steps=30)[2]),
    "the temperature is too high": given(temperature=lambda s: 200.0),
    "the teacher says no more than the labels": ending("teacher", lambda logits: 50 * logits),
    "no clear difference to the baseline": given(baseline=lambda s: trained("glyphs", 1)[2]),
}


def overfitted():
    data = pictures("glyphs")
    student = kd.models.perceptron((64,), seed=0)
    kd.train(student, data.train.take(torch.arange(512)), kd.HardTarget(), steps=300, progress=False)
    return student


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault):
    data, teacher, student = healthy("glyphs", 0)
    setting = {"student": student, "teacher": teacher, "data": data}
    FAULTS[fault](setting)
    report = diagnose(setting.pop("student"), setting.pop("teacher"), setting.pop("data"), count=256, **setting)
    assert fault in report.names, str(report)
    assert all(finding.mend and finding.measured for finding in report.findings)


def test_a_teacher_with_batch_norm_is_told_too():
    data, _, student = healthy("fashion-mnist", 0)
    teacher = kd.zoo.teacher("convnet", data, announce=False)
    modes = [module.training for module in teacher.modules()]
    assert diagnose(student, teacher, data, count=200).faults == []
    assert modes == [module.training for module in teacher.modules()]
    assert (
        diagnose(student, copy.deepcopy(teacher).train(), data, count=200).faults[0]
        == "the teacher is in training mode"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(student=3), "student must be a model"),
        (dict(data=[1, 2]), "data must be ImageData"),
        (dict(method=F.kl_div), "method must be a Method"),
        (dict(count=3), "count must be a whole number of at least 50"),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments, words):
    data, teacher, student = healthy("glyphs", 0)
    with pytest.raises(ValueError, match=words):
        diagnose(**{"student": student, "teacher": teacher, "data": data, **arguments})


@pytest.mark.parametrize(
    "loss",
    [
        lambda student, teacher, temperature: -kd.losses.soft_target(student, teacher, temperature=temperature),
        lambda student, teacher: -torch.nn.functional.mse_loss(student, teacher.detach()),
        lambda student, teacher: (teacher.detach().softmax(1) * student.log_softmax(1)).sum(1).mean(),
    ],
    ids=["minus KL", "minus MSE", "cross-entropy without its minus"],
)
def test_a_loss_that_drives_the_student_away_is_a_fault(loss):
    assert "the sign" in kd.audit(loss).faults
