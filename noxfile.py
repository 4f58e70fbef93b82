"""Sessions of the repository: ``nox -l`` lists them, ``nox -s NAME -- ARGUMENTS`` runs one.

Every session makes an environment of its own with the interpreter that runs nox, and installs only what it
needs: an import that a distribution does not declare fails in its ``tests``.
"""

import os
import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "imports", "tests", "integration"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).resolve().parent
ROOT_PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}
TESTED = [dist for dist in PROJECTS if any((ROOT / "packages" / dist / "tests").glob("test_*.py"))]
STATISTICS = "pytest.mark.statistics"
# Suites whose time is that of the compiler, which works on one thread: two processes share them.
COMPILED = {"homodyne-cli", "homodyne-cmc", "homodyne-model", "homodyne-nlsq"}
# Extras that bring hundreds of distributions; `integration` tests them.
HEAVY = {"nlsq"}
every_distribution = nox.parametrize("dist", list(PROJECTS), ids=list(PROJECTS))
every_tested_distribution = nox.parametrize("dist", TESTED, ids=TESTED)


def group(name: str) -> list[str]:
    """Requirements of a dependency group of the root project."""
    return list(nox.project.dependency_groups(ROOT_PROJECT, name))


def with_siblings(*dists: str) -> list[str]:
    """Names of distributions and of everything they need from this repository, sorted."""
    found: set[str] = set()
    waiting = list(dists)
    while waiting:
        dist = waiting.pop()
        if dist not in found:
            found.add(dist)
            requirements = PROJECTS[dist]["project"]["dependencies"]
            waiting += [
                name for name in (re.match(r"[\w.-]+", r)[0] for r in requirements) if name in PROJECTS
            ]
    return sorted(found)


def optional(dist: str) -> tuple[list[str], list[str]]:
    """What the extras of a distribution bring, but for the heavy ones: siblings by name, and requirements from elsewhere."""
    extras = PROJECTS[dist]["project"].get("optional-dependencies", {})
    named = [requirement for extra in sorted(set(extras) - HEAVY) for requirement in extras[extra]]
    is_sibling = {requirement: re.match(r"[\w.-]+", requirement)[0] in PROJECTS for requirement in named}
    siblings = [re.match(r"[\w.-]+", requirement)[0] for requirement in named if is_sibling[requirement]]
    return siblings, [requirement for requirement in named if not is_sibling[requirement]]


def folder(dist: str) -> Path:
    """Folder of a distribution."""
    return ROOT / "packages" / dist


def install_editable(
    session: nox.Session, *dists: str, groups: tuple[str, ...] = (), requirements: tuple[str, ...] = ()
) -> None:
    """Install distributions with their siblings from the working tree; dependency groups and requirements beside them."""
    paths = [part for dist in with_siblings(*dists) for part in ("-e", str(folder(dist)))]
    # The siblings are named by path here; uv would otherwise add them a second time from the workspace.
    env = {"UV_NO_SOURCES": "1"}
    session.install(*paths, *(r for name in groups for r in group(name)), *requirements, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """Check that packages import only what lies below them (import-linter; imports nothing)."""
    session.install(*group("imports"))
    sources = ":".join(str(path) for path in sorted(ROOT.glob("packages/*/src")))
    session.run("lint-imports", *session.posargs, env={"PYTHONPATH": sources})


@nox.session
@every_tested_distribution
def tests(session: nox.Session, dist: str) -> None:
    """Test one distribution with its own dependencies and its extras: its suite and the examples of its docstrings."""
    siblings, requirements = optional(dist)
    install_editable(session, dist, *siblings, groups=("test",), requirements=tuple(requirements))
    processes = ("-n", "2") if dist in COMPILED else ()
    session.run(
        "pytest",
        *processes,
        "--doctest-modules",
        str(folder(dist) / "src"),
        str(folder(dist) / "tests"),
        *session.posargs,
    )


@nox.session
def integration(session: nox.Session) -> None:
    """Test what needs several distributions: packaging rules, documented examples, whole fits."""
    # Arguments may choose tests of one of the two runs only: no test chosen (5) is no failure then.
    codes = (0, 5) if session.posargs else (0,)
    install_editable(session, *PROJECTS, groups=("test",))
    env = {"HOMODYNE_WITHOUT_NLSQ": "1"}
    session.run("pytest", "integration_tests", *session.posargs, env=env, success_codes=codes)
    # This extra brings more than 200 distributions. NumPy loads one of them where it happens to be there, so they come after the tests of
    # what an import loads.
    nlsq = PROJECTS["homodyne-nlsq"]["project"]["optional-dependencies"]["nlsq"]
    install_editable(session, *PROJECTS, groups=("test",), requirements=tuple(nlsq))
    engine = "integration_tests/test_curve_fit_engine.py"
    session.run("pytest", engine, *session.posargs, success_codes=codes)


@nox.session
def statistics(session: nox.Session) -> None:
    """Fit many replicates and random starts: whether error bars are the scatter and optima are found (minutes)."""
    suites = [*(folder(dist) / "tests" for dist in TESTED), ROOT / "integration_tests"]
    marked = [
        path
        for suite in suites
        for path in sorted(suite.glob("test_*.py"))
        if STATISTICS in path.read_text("utf-8")
    ]
    install_editable(session, *PROJECTS, groups=("test",))
    session.run("pytest", "-m", "statistics", "-s", *map(str, marked), *session.posargs)


@nox.session
@every_tested_distribution
def explore(session: nox.Session, dist: str) -> None:
    """Run the property tests of one distribution on examples that differ from run to run."""
    install_editable(session, dist, groups=("test",))
    session.run("pytest", str(folder(dist) / "tests"), *session.posargs, env={"HOMODYNE_EXPLORE": "1"})


@nox.session
@every_distribution
def wheel(session: nox.Session, dist: str) -> None:
    """Build wheels of one distribution and its siblings, and test them away from the source tree."""
    work = Path(session.create_tmp())
    shutil.rmtree(work, ignore_errors=True)
    wheels = work / "wheels"
    uses_uv = session.venv_backend == "uv"
    for name in with_siblings(dist):
        command = (
            ("uv", "build", "--wheel", "--no-sources", "--out-dir")
            if uses_uv
            else ("pip", "wheel", "--no-deps", "-w")
        )
        session.run(*command, str(wheels), str(folder(name)), silent=True)
    session.install(*(str(path) for path in sorted(wheels.glob("*.whl"))))

    # The suite is copied, with the settings it shares with others; the sources stay behind.
    away = work / "away"
    away.mkdir()
    for path in ("pyproject.toml", "conftest.py", "integration_tests/import_footprint.py"):
        shutil.copy(ROOT / path, away)
    if dist in TESTED:
        shutil.copytree(folder(dist) / "tests", away / "packages" / dist / "tests")
    session.chdir(away)
    session.run("python", "import_footprint.py", dist)
    if dist in TESTED:
        session.install(*group("test"))
        measured = os.environ.get("HOMODYNE_REAL_DATA", str(ROOT.parent / "shared" / "data"))
        session.run(
            "pytest", f"packages/{dist}/tests", *session.posargs, env={"HOMODYNE_REAL_DATA": measured}
        )


@nox.session
@every_tested_distribution
def lowest(session: nox.Session, dist: str) -> None:
    """Test one distribution with the lowest versions that its dependencies' ranges admit (needs uv)."""
    if session.venv_backend != "uv":
        session.skip("only uv resolves to the lowest versions")
    requirements = {
        requirement
        for name in with_siblings(dist)
        for requirement in PROJECTS[name]["project"]["dependencies"]
        if re.match(r"[\w.-]+", requirement)[0] not in PROJECTS
    }
    session.install("--resolution", "lowest-direct", *sorted(requirements))
    # Second, so that the floors of the tools do not take part; what is installed already stays.
    install_editable(session, dist, groups=("test",))
    session.run("pytest", str(folder(dist) / "tests"), *session.posargs)


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Run ``homodyne demo`` from the working tree."""
    install_editable(session, "homodyne-cli")
    session.chdir(session.invoked_from)
    session.run("homodyne", "demo", *session.posargs)


BENCHMARKS = {
    "pass": "passes.py",
    "fit": "fits.py",
    "search": "searches.py",
    "posterior": "posteriors.py",
    "nlsq": "full_jacobian.py",
    "peers": "peers.py",
}
PEERS = ("homodyne==2.23.3", "xpcsjax==0.1.8")


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Print what a pass and a fit cost against other ways to compute them (arguments: pass, fit, search; if asked for, posterior, nlsq, peers)."""
    chosen = session.posargs or ["pass", "fit", "search"]
    if unknown := sorted(set(chosen) - set(BENCHMARKS)):
        session.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(BENCHMARKS)}")
    install_editable(session, "homodyne-nlsq", "homodyne-global")
    for name, module in BENCHMARKS.items():
        if name not in chosen:
            continue
        arguments = ()
        if name == "posterior":
            install_editable(session, "homodyne-cmc", "homodyne-nlsq")
        elif name == "nlsq":
            extra = PROJECTS["homodyne-nlsq"]["project"]["optional-dependencies"]["nlsq"]
            install_editable(session, "homodyne-nlsq", requirements=tuple(extra))
        elif name == "peers":
            arguments = (python_of_peers(session),)
        session.run("python", str(ROOT / "benchmarks" / module), *arguments)


def python_of_peers(session: nox.Session) -> str:
    """Interpreter of an environment that holds the public programs and nothing of ours; kept for the next run."""
    folder = Path(session.create_tmp()) / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        session.run("python", "-m", "venv", str(folder))
    if session.venv_backend == "uv":
        session.run("uv", "pip", "install", "--python", str(python), *PEERS, external=True)
    else:
        session.run(str(python), "-m", "pip", "install", *PEERS, external=True)
    return str(python)
