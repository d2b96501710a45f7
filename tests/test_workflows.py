"""GitHub's workflows, read as YAML: they run what .ci/run runs, on what the course names, with no right that they do not need."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in ROOT.glob(".github/workflows/*.yml")}
JOBS = {f"{name}/{job}": found for name, one in WORKFLOWS.items() for job, found in one["jobs"].items()}


def started(text: str) -> set[str]:
    """What is asked of start.py, without the name of the Python."""
    return {found.strip() for found in re.findall(r"^.*python3? (start\.py .*)$", text, re.MULTILINE)}


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_they_run_what_continuous_integration_runs():
    mine = started((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert "start.py test" in mine
    every_change = [command for job in WORKFLOWS["test"]["jobs"].values() for command in commands(job)]
    assert mine <= started("\n".join(every_change))


def test_the_test_command_runs_on_every_system_and_python():
    matrix = JOBS["test/systems"]["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]  # words: 3.10 as a number would be 3.1
    assert commands(JOBS["test/systems"]) == ["python start.py test"]


def test_the_lock_is_made_anew_as_its_own_first_lines_say():
    (how,) = re.findall(r"^# (uv pip compile .*)$", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    for job, option in (("nightly/newest", "--upgrade"), ("weekly/lowest", "--resolution lowest-direct")):
        made, tried = commands(JOBS[job])
        assert made.replace(f" {option}", "") == f"pipx run {how}" and option in made
        assert tried == "python start.py test"
    assert "python start.py test --colab" in commands(JOBS["weekly/colab"])


def test_a_release_is_published_by_trust_and_only_after_it_was_tried():
    release = WORKFLOWS["release"]["jobs"]
    assert release["publish"]["needs"] == "try" and release["try"]["needs"] == "build"
    assert release["publish"]["if"] == "startsWith(github.ref, 'refs/tags/')"
    assert release["publish"]["permissions"] == {"id-token": "write"} and "environment" in release["publish"]
    assert "with" not in release["publish"]["steps"][-1], "the publishing action's defaults name the index"
    text = "".join(path.read_text("utf-8") for path in ROOT.glob(".github/workflows/*.yml"))
    assert "secrets." not in text and "password" not in text.replace("without a password", "")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_says_what_it_may_do_and_when(name):
    workflow = WORKFLOWS[name]
    assert workflow["name"] == name
    assert workflow["permissions"]["contents"] == "read"
    when = workflow[True]  # YAML 1.1 reads the key `on` as a truth value
    for rule in when.get("schedule", []):
        minute, hour, *_ = fields = rule["cron"].split()
        assert len(fields) == 5 and int(minute) % 10 and int(hour) < 24, (
            "full hours are when all the world's jobs start"
        )


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_and_its_actions_have_versions(name):
    job = JOBS[name]
    assert 10 <= job["timeout-minutes"] <= 150
    known = set(JOBS[name]) - {"runs-on", "timeout-minutes", "steps", "strategy", "needs", "if", "environment"}
    assert known <= {"permissions", "defaults"}
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step), step
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", step.get("uses", "actions/checkout@v6")), step
    assert set(re.findall(r"\$\{\{ matrix\.(\w+) \}\}", str(job))) == set(job.get("strategy", {}).get("matrix", {}))
    earlier = job.get("needs")
    assert earlier is None or f"{name.split('/')[0]}/{earlier}" in JOBS
