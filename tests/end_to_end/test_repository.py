"""The repository is independent of the machine on which it was written."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
HOME = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users|tmp/venv)/\w")
"""Folders of one machine."""
PACKAGE_INDEX = re.compile(
    r"--(?:extra-)?index-url|--find-links|--trusted-host|[\w.-]*artifact[\w-]*\.[\w.-]+/|/simple/"
)
"""Where one machine's packages come from."""
HOSTS = {
    "www.cs.toronto.edu",
    # the mirrors of the data sets
    "ossci-datasets.s3.amazonaws.com",
    "storage.googleapis.com",
    "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "raw.githubusercontent.com",
    "codh.rois.ac.jp",
    "biometrics.nist.gov",
    # references
    "arxiv.org",
    "distributed.dask.org",
    "doi.org",
    "fsf.org",
    "github.com",
    "jobqueue.dask.org",
    "www.gnu.org",
    # neither: this machine, and the namespace of SVG
    "127.0.0.1",
    "www.w3.org",
}


def committed() -> list[Path]:
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        return []
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Committed text files by name and content, except for this one."""
    found = []
    for path in committed():
        content = path.read_bytes()
        if b"\0" not in content and path != Path(__file__):
            found.append((str(path.relative_to(REPOSITORY)), content.decode()))
    if not found:
        pytest.skip("not a git checkout")
    return found


@pytest.mark.parametrize("pattern", [HOME, PACKAGE_INDEX], ids=["folders", "package-indexes"])
def test_no_file_names_what_only_one_machine_has(pattern):
    hits = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert hits == []


def test_every_address_is_a_public_one_that_is_listed_here():
    pattern = re.compile(r"\b(?:https?|ftp|git|ssh)://(?:[^\s/@\"'`)>]*@)?([\w.-]+)")
    strangers = {f"{name}: {host}" for name, text in texts() for host in pattern.findall(text) if host not in HOSTS}
    assert strangers == set()


def test_only_the_six_places_and_the_usual_files_stand_at_the_top():
    folders = {path.relative_to(REPOSITORY).parts[0] for path in committed() if path.parent != REPOSITORY}
    if not folders:
        pytest.skip("not a git checkout")
    code = {"circuits", "eqprop_analog", "netlists", "scripts", "tests"}
    assert {name for name in folders if not name.startswith(".")} <= code | {"docs"}


def test_the_lock_holds_what_the_package_and_its_extras_ask_for():
    """Except for torch, whose builds depend on the machine."""
    lock = (REPOSITORY / "requirements.lock").read_text()
    pinned = {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE)
    }
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = {name: each for name, each in project["optional-dependencies"].items() if name != "torch"}
    for requirement in map(
        Requirement, [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    ):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"requirements.lock has no {requirement.name}: make lock"
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}: make lock"


def test_the_citation_and_the_changelog_have_the_version_of_the_package():
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (\S+)$", (REPOSITORY / "CITATION.cff").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (cited and cited[1], newest and newest[1]) == (version, version)
    # the README has the name of a wheel without its version
    assert not re.search(r"eqprop_analog-\d", (REPOSITORY / "README.md").read_text())
