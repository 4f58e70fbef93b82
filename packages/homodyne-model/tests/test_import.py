"""Importing the package changes nothing and brings only NumPy and JAX."""

import json
import subprocess
import sys

PROGRAM = """
import json, logging, os, sys, warnings
import jax, numpy
with_jax = {name.partition(".")[0] for name in sys.modules}

def state():
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {
        "environment": dict(os.environ),
        "jax": {k: repr(v) for k, v in jax.config.values.items()},
        "handlers": {l.name: [repr(h) for h in l.handlers] for l in loggers},
        "levels": {l.name: l.level for l in loggers},
        "filters": [repr(f) for f in warnings.filters],
        "print": repr(numpy.get_printoptions()),
        "errstate": numpy.geterr(),
    }

before = state()
import homodyne_model
import homodyne_model.testing
after = state()
added = {n.partition(".")[0] for n in sys.modules} - with_jax - set(sys.stdlib_module_names)
print(json.dumps({
    "changed": [k for k in before if before[k] != after[k]],
    "added": sorted(added),
    "missing": [n for n in homodyne_model.__all__ if not hasattr(homodyne_model, n)],
    "sorted": homodyne_model.__all__ == sorted(homodyne_model.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n)),
    "x64": jax.config.jax_enable_x64,
    "backend": jax._src.xla_bridge.backends_are_initialized(),
}))
"""


def test_import_in_a_fresh_process():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["changed"] == []
    assert found["added"] == ["homodyne_model"]
    assert found["missing"] == []
    assert found["sorted"]
    # JAX starts its devices at the first computation, which is the caller's to choose.
    assert not found["backend"]
    assert not found["x64"]


def test_every_public_name_has_a_docstring():
    import homodyne_model

    for name in homodyne_model.__all__:
        value = getattr(homodyne_model, name)
        if callable(value):
            assert value.__doc__, name
            assert len(value.__doc__.strip().splitlines()[0]) > 10, name
