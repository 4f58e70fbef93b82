"""Tell whether importing a distribution loads only what it declares.

``python import_footprint.py homodyne-model`` prints the distributions whose modules the import loads, and
exits with 1 if one of them is not among the declared requirements and what those need in turn. Needs only the
standard library, so that it runs beside an installed wheel and nothing else.
"""

import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, requires


def normalised(name: str) -> str:
    """Name of a distribution in the spelling that names are compared in."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_closure(distribution: str) -> set[str]:
    """A distribution with everything that it needs, without extras.

    A requirement whose marker excludes this environment is not installed, or was installed for another
    reason; counting it can only make the check milder.
    """
    closure: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = normalised(waiting.pop())
        if name in closure:
            continue
        closure.add(name)
        try:
            requirements = requires(name) or ()
        except PackageNotFoundError:
            continue
        waiting += [re.match(r"[\w.-]+", text)[0] for text in requirements if "extra ==" not in text]
    return closure


def loaded_distributions(distribution: str) -> set[str]:
    """Distributions whose modules a distribution loads beside what its requirements load.

    The direct requirements are imported first: one may load more than it needs where that happens to be there.
    """
    owners = packages_distributions()
    direct = {normalised(re.match(r"[\w.-]+", text)[0]) for text in requires(distribution) or ()}
    for name in direct:
        # A distribution installed from its source tree does not list its modules; those here are named after it.
        modules = [module for module, dists in owners.items() if name in map(normalised, dists)]
        for module in modules or [name.replace("-", "_")]:
            try:
                import_module(module)
            except ImportError:  # of an extra, or a module that its distribution can do without
                continue
    before = set(sys.modules)
    import_module(distribution.replace("-", "_"))
    top_level = {module.partition(".")[0] for module in set(sys.modules) - before}
    return {normalised(dist) for module in top_level for dist in owners.get(module, ())}


def main(distribution: str) -> int:
    """Check one distribution; 0 if its import keeps to what it declares."""
    loaded = loaded_distributions(distribution)
    stray = loaded - required_closure(distribution)
    print(f"beside its requirements {distribution} loads {', '.join(sorted(loaded)) or 'nothing'}")
    if stray:
        print(f"not declared by {distribution}: {', '.join(sorted(stray))}")
    return 1 if stray else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
