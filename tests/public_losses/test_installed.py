"""The public losses themselves, out of their packages, where PUBLIC_LOSSES names a folder of them: see requirements.txt."""

import json
from importlib.metadata import PathDistribution, version
from pathlib import Path

import pytest

from kdcourse.review import audit
from tests.public_losses.packages import FOLDER, LOSSES

STORED = Path(__file__).parent / "verdicts.json"


def judged(name: str) -> dict:
    """The package and version of a public loss, and what audit says of it. Skips where the package is not there."""
    package, build, told = LOSSES[name]
    try:
        loss = build()
    except ImportError as error:
        pytest.skip(f"{package} is not installed: {error}")
    report = audit(loss, **told)
    found = {finding.name: [finding.kind, round(finding.number, 4)] for finding in report.findings}
    return {"package": package, "version": _version(package), "what": report.what, "findings": found}


def _version(package: str) -> str:
    lying = list((FOLDER / package).glob("*.dist-info"))
    return PathDistribution(lying[0]).version if lying else version(package).split("+")[0]


@pytest.mark.parametrize("name", LOSSES)
def test_a_public_loss_is_judged_as_it_was(name):
    if LOSSES[name][0] != "torch":
        pytest.importorskip("torch")
        if not (FOLDER / LOSSES[name][0]).is_dir():
            pytest.skip("PUBLIC_LOSSES names no folder with this package")
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    found = judged(name)
    assert found["what"] == stored["what"]
    assert list(found["findings"]) == list(stored["findings"])


if __name__ == "__main__":  # python -m tests.public_losses.test_installed writes the verdicts anew
    verdicts = {name: judged(name) for name in LOSSES}
    STORED.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
