"""What every distribution of this repository promises: versions, files, dependencies, quiet imports."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
ROOT_TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}
LAYERS = [
    [name.strip().replace("_", "-") for name in line.split("|")]
    for contract in ROOT_TOOLS["importlinter"]["contracts"]
    if contract["type"] == "layers"
    for line in contract["layers"]
]
every_distribution = pytest.mark.parametrize("dist", list(PROJECTS))


def import_name(dist: str) -> str:
    return dist.replace("-", "_")


def package(dist: str) -> Path:
    return ROOT / "packages" / dist / "src" / import_name(dist)


def requirements(dist: str, *, extras: bool) -> dict[str, Requirement]:
    """Declared requirements by canonical name, with or without those of the extras."""
    project = PROJECTS[dist]
    texts = list(project["dependencies"])
    if extras:
        texts += [text for extra in project.get("optional-dependencies", {}).values() for text in extra]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, texts)}


def imported_modules(dist: str) -> set[str]:
    """Dotted names of all modules that the source of a distribution imports, anywhere in it."""
    found = set()
    for path in package(dist).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                found.add(node.module)
                # `from homodyne_x import _y` names a module too.
                found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name.startswith("_")}
    return found - {"__future__"}


def foreign_modules(dist: str) -> set[str]:
    """Imported modules that belong neither to the standard library nor to the distribution itself."""
    own = sys.stdlib_module_names | {import_name(dist)}
    return {module for module in imported_modules(dist) if module.partition(".")[0] not in own}


def distributions_of(modules: set[str]) -> set[str]:
    """Canonical names of the distributions that provide modules; an absent module's own name."""
    owners = packages_distributions()
    tops = {module.partition(".")[0] for module in modules}
    return {canonicalize_name(owners.get(top, [top])[0]) for top in tops}


def test_every_list_names_every_distribution():
    names = sorted(import_name(dist) for dist in PROJECTS)
    assert sorted(ROOT_TOOLS["importlinter"]["root_packages"]) == names
    assert sorted(ROOT_TOOLS["ruff"]["lint"]["isort"]["known-first-party"]) == names
    assert sorted(ROOT_TOOLS["uv"]["sources"]) == sorted(PROJECTS)
    assert sorted(dist for layer in LAYERS for dist in layer) == sorted(PROJECTS)


@every_distribution
class TestDistribution:
    def test_files(self, dist):
        folder = ROOT / "packages" / dist
        assert PROJECTS[dist]["name"] == dist
        assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
        assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {dist}\n")
        assert (package(dist) / "py.typed").is_file()

    def test_version_agrees_with_the_changelog_and_the_installed_one(self, dist):
        version = PROJECTS[dist]["version"]
        changelog = (ROOT / "packages" / dist / "CHANGELOG.md").read_text(encoding="utf-8")
        assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version
        assert installed_version(dist) == version

    def test_sibling_ranges_have_two_bounds_and_admit_the_sibling(self, dist):
        for name, requirement in requirements(dist, extras=True).items():
            if name in PROJECTS:
                operators = {specifier.operator for specifier in requirement.specifier}
                assert operators == {">=", "<"}, f"{requirement} is not bounded on both sides"
                assert PROJECTS[name]["version"] in requirement.specifier, (
                    f"{requirement} excludes its sibling"
                )

    def test_third_parties_have_a_floor(self, dist):
        for name, requirement in requirements(dist, extras=True).items():
            if name not in PROJECTS:
                assert ">=" in {specifier.operator for specifier in requirement.specifier}, str(requirement)

    def test_siblings_lie_below(self, dist):
        level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
        for name in requirements(dist, extras=True):
            assert name not in PROJECTS or level[name] > level[dist], (
                f"{dist} needs {name}, which is not below it"
            )

    def test_declared_dependencies_are_those_imported(self, dist):
        imported = distributions_of(foreign_modules(dist))
        undeclared = imported - set(requirements(dist, extras=True))
        assert not undeclared, f"imported but not declared: {sorted(undeclared)}"
        unused = set(requirements(dist, extras=False)) - imported
        assert not unused, f"declared but not imported: {sorted(unused)}"

    def test_no_private_module_of_a_sibling(self, dist):
        siblings = {import_name(name) for name in PROJECTS} - {import_name(dist)}
        private = {
            module
            for module in foreign_modules(dist)
            if module.partition(".")[0] in siblings and "._" in module and not module.endswith("__version__")
        }
        assert not private

    def test_import_changes_nothing_in_the_process(self, dist):
        # What third parties do when they are imported is theirs: they come first.
        others = sorted(foreign_modules(dist) - {m for m in foreign_modules(dist) if "._" in m})
        done = subprocess.run(
            [sys.executable, "-c", WATCH_IMPORT, import_name(dist), json.dumps(others)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {}

    def test_import_loads_only_what_is_declared(self, dist):
        script = Path(__file__).with_name("import_footprint.py")
        done = subprocess.run([sys.executable, str(script), dist], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# Prints what differs after the import of a package, as JSON; run in a process of its own.
WATCH_IMPORT = """
import faulthandler, importlib, json, logging, os, signal, sys, threading, warnings

def state():
    jax = sys.modules.get("jax")
    matplotlib = sys.modules.get("matplotlib")
    numpy = sys.modules.get("numpy")
    loggers = {"root": logging.getLogger(), **logging.Logger.manager.loggerDict}
    return {
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "module search path": list(sys.path),
        "jax configuration": jax and {k: repr(v) for k, v in jax.config.values.items()},
        "plot settings": matplotlib and {k: repr(v) for k, v in dict.items(matplotlib.rcParams)},
        "floating point errors": numpy and numpy.geterr(),
        "logging handlers": {
            name: [repr(handler) for handler in logger.handlers]
            for name, logger in loggers.items() if getattr(logger, "handlers", None)
        },
        "logging level": logging.getLogger().level,
        "signal handlers": {s.name: repr(signal.getsignal(s)) for s in signal.valid_signals()
                            if isinstance(s, signal.Signals)},
        "warning filters": [repr(f) for f in warnings.filters],
        "hooks": [repr(h) for h in (sys.excepthook, sys.displayhook, threading.excepthook, warnings.showwarning)],
        "fault handler": faulthandler.is_enabled(),
        "threads": threading.active_count(),
    }

package, others = sys.argv[1], json.loads(sys.argv[2])
for module in others:
    try:
        importlib.import_module(module)
    except ImportError:  # of an extra that is not installed
        pass
before = state()
importlib.import_module(package)
after = state()
changes = {}
for key, (old, new) in {key: (before[key], after[key]) for key in before if before[key] != after[key]}.items():
    if isinstance(old, dict) and isinstance(new, dict):  # only what differs in it
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        old, new = {name: old.get(name) for name in names}, {name: new.get(name) for name in names}
    changes[key] = [old, new]
print(json.dumps(changes))
"""
