"""Losses out of installed packages, each as its package gives it; nothing here runs unless the package is there."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn

FOLDER = Path(os.environ.get("PUBLIC_LOSSES", "/nowhere"))  # a folder for each package, see requirements.txt


def alone(package: str, name: str) -> ModuleType:
    """The module `name` of a package, without what the packages above it would import on their way."""
    folder = FOLDER / package
    if str(FOLDER / "also") not in sys.path:
        sys.path.append(str(FOLDER / "also"))
    parts = name.split(".")
    if not (folder / parts[0]).is_dir():
        raise ImportError(f"{package} is not in {folder}")
    for depth in range(1, len(parts)):
        parent = ".".join(parts[:depth])
        if parent not in sys.modules:
            empty = ModuleType(parent)
            empty.__path__ = [str(folder.joinpath(*parts[:depth]))]
            sys.modules[parent] = empty
    return importlib.import_module(name)


def whole(package: str, name: str) -> ModuleType:
    """The module `name`, imported as anybody would, with `also` beside it for what the package needs."""
    for folder in (FOLDER / "also", FOLDER / package):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return importlib.import_module(name)


def keras_logits_distillation() -> object:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return whole("keras", "keras").distillation.LogitsDistillation(temperature=3.0)


def torchdistill_kd(alpha: float | None) -> Callable:
    kind = alone("torchdistill", "torchdistill.losses.mid_level").KDLoss

    def loss(student, teacher, temperature):
        made = kind("head", "output", "head", "output", temperature=temperature, alpha=alpha, beta=1.0)
        return made({"head": {"output": student}}, {"head": {"output": teacher}})

    def mixed(student, teacher, labels, temperature, alpha):
        made = kind("head", "output", "head", "output", temperature=temperature, alpha=alpha)
        return made({"head": {"output": student}}, {"head": {"output": teacher}}, labels)

    return loss if alpha is None else mixed


def kd_lib_vanilla() -> Callable:
    kind = alone("kd-lib", "KD_Lib.KD.vision.vanilla.vanilla_kd").VanillaKD
    made = kind.__new__(kind)  # its constructor wants models and loaders, of which this method uses none
    made.loss_fn, made.temp, made.distil_weight = nn.MSELoss(), 20.0, 0.5  # its defaults
    return made.calculate_kd_loss


def distil_trainer() -> Callable:
    return alone("distil-trainer", "distil_trainer.distillation.losses").DistillationLosses.kl_divergence_loss


# name -> (package, how it is had, what audit is told beside it)
LOSSES: dict[str, tuple[str, Callable[[], object], dict]] = {
    "torch.nn.KLDivLoss()": ("torch", nn.KLDivLoss, {}),
    "keras.distillation.LogitsDistillation(3.0)": ("keras", keras_logits_distillation, {}),
    "torchdistill KDLoss(alpha=None)": ("torchdistill", lambda: torchdistill_kd(None), {}),
    "torchdistill KDLoss(alpha)": ("torchdistill", lambda: torchdistill_kd(0.9), {}),
    "textbrewer kd_ce_loss": ("textbrewer", lambda: alone("textbrewer", "textbrewer.losses").kd_ce_loss, {}),
    "textbrewer kd_mse_loss": ("textbrewer", lambda: alone("textbrewer", "textbrewer.losses").kd_mse_loss, {}),
    "KD_Lib VanillaKD.calculate_kd_loss": ("kd-lib", kd_lib_vanilla, {}),
    "torchtune ForwardKLLoss": (
        "torchtune",
        lambda: alone("torchtune", "torchtune.modules.loss.kd_losses").ForwardKLLoss(),
        {},
    ),
    "torchtune ReverseKLLoss": (
        "torchtune",
        lambda: alone("torchtune", "torchtune.modules.loss.kd_losses").ReverseKLLoss(),
        {},
    ),
    "trl GKDTrainer.generalized_jsd_loss": (
        "trl",
        lambda: whole("trl", "trl.experimental.gkd.gkd_trainer").GKDTrainer.generalized_jsd_loss,
        {},
    ),
    "peftml hinton_kd_loss": ("peftml", lambda: alone("peftml", "peftml.distillation.losses").hinton_kd_loss, {}),
    "rictr kl_divergence": ("rictr", lambda: alone("rictr", "rictr.losses.kl").kl_divergence, {}),
    "silverspoon_kd kl_divergence_loss(2.0)": (
        "silverspoon-kd",
        lambda: alone("silverspoon-kd", "silverspoon_kd.losses.kl").kl_divergence_loss(temperature=2.0),
        {},
    ),
    "llm_distil sequence_kl_divergence": (
        "llm-distil",
        lambda: alone("llm-distil", "llm_distil.losses").sequence_kl_divergence,
        {},
    ),
    "llm_distil generalized_jsd_loss": (
        "llm-distil",
        lambda: alone("llm-distil", "llm_distil.losses").generalized_jsd_loss,
        {},
    ),
    "distil_trainer kl_divergence_loss": ("distil-trainer", distil_trainer, {}),
    "darklight SoftLabelsDistillationLoss": (
        "darklight",
        lambda: alone("darklight", "darklight.losses.losses").SoftLabelsDistillationLoss(temp=10.0),
        {},
    ),
    "modelopt LogitsDistillationLoss()": (
        "nvidia-modelopt",
        lambda: alone("nvidia-modelopt", "modelopt.torch.distill.losses").LogitsDistillationLoss(),
        {},
    ),
}
