import os
import subprocess
import sys

import psutil
import pytest

from homodyne_memory import _system, memory_threshold_gb, peak_memory_gb, total_memory_gb


@pytest.fixture(autouse=True)
def _no_fraction_from_outside(monkeypatch):
    monkeypatch.delenv("NLSQ_MEMORY_FRACTION", raising=False)


@pytest.fixture
def total(monkeypatch):
    """A machine of 64 GB without control groups."""
    monkeypatch.setattr(_system, "_physical_bytes", lambda: 64_000_000_000)
    monkeypatch.setattr(_system, "_control_group_bytes", lambda root: None)


@pytest.mark.usefixtures("total")
class TestThreshold:
    def test_three_quarters_of_the_memory(self):
        assert memory_threshold_gb() == pytest.approx(48.0)

    def test_environment_overrides_the_default(self, monkeypatch):
        monkeypatch.setenv("NLSQ_MEMORY_FRACTION", "0.5")
        assert memory_threshold_gb() == pytest.approx(32.0)

    def test_argument_overrides_the_environment(self, monkeypatch):
        monkeypatch.setenv("NLSQ_MEMORY_FRACTION", "nonsense")
        assert memory_threshold_gb(0.25) == pytest.approx(16.0)

    @pytest.mark.parametrize("bad", ["0.05", "0.95", "nan", "", "half", "-0.5"])
    def test_bad_environment(self, monkeypatch, bad):
        monkeypatch.setenv("NLSQ_MEMORY_FRACTION", bad)
        with pytest.raises(
            ValueError, match=r"NLSQ_MEMORY_FRACTION is '.*'; expected a number from 0.1 to 0.9"
        ):
            memory_threshold_gb()

    @pytest.mark.parametrize("bad", [0.0999, 0.9001, float("nan"), float("inf"), "x", [1]])
    def test_bad_argument(self, bad):
        with pytest.raises(ValueError, match="fraction is .*; expected a number from 0.1 to 0.9"):
            memory_threshold_gb(bad)

    @pytest.mark.parametrize("edge", [0.1, 0.9])
    def test_edges_are_allowed(self, edge):
        assert memory_threshold_gb(edge) == pytest.approx(64 * edge)


class TestTotal:
    def test_of_this_machine(self):
        assert 0 < total_memory_gb() <= psutil.virtual_memory().total / 1e9

    def test_a_container_limit_counts(self, monkeypatch):
        monkeypatch.setattr(_system, "_physical_bytes", lambda: 64_000_000_000)
        monkeypatch.setattr(_system, "_control_group_bytes", lambda root: 8_000_000_000)
        assert total_memory_gb() == 8.0
        # A limit above the machine's memory is none.
        monkeypatch.setattr(_system, "_control_group_bytes", lambda root: 2**63 - 4096)
        assert total_memory_gb() == 64.0

    def test_sysconf_where_psutil_fails(self, monkeypatch):
        def fail():
            raise RuntimeError("no /proc/meminfo here")

        monkeypatch.setattr(psutil, "virtual_memory", fail)
        values = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}
        monkeypatch.setattr(os, "sysconf", values.__getitem__)
        assert _system._physical_bytes() == 4_096_000_000

    def test_16_gb_where_nothing_tells(self, monkeypatch):
        def fail(*_):
            raise OSError("hidden")

        monkeypatch.setattr(psutil, "virtual_memory", fail)
        monkeypatch.setattr(os, "sysconf", fail)
        monkeypatch.setattr(_system, "_control_group_bytes", lambda root: None)
        assert total_memory_gb() == 16.0
        assert memory_threshold_gb() == pytest.approx(12.0)


class TestControlGroups:
    @staticmethod
    def write(root, files):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def test_none(self, tmp_path):
        assert _system._control_group_bytes(tmp_path) is None

    def test_version_2_takes_the_lowest_of_the_groups_above(self, tmp_path):
        self.write(
            tmp_path,
            {
                "proc/self/cgroup": "0::/slurm/job_1/step_0\n",
                "sys/fs/cgroup/slurm/job_1/step_0/memory.max": "max\n",
                "sys/fs/cgroup/slurm/job_1/memory.max": "4000000000\n",
                "sys/fs/cgroup/slurm/memory.max": "9000000000\n",
            },
        )
        assert _system._control_group_bytes(tmp_path) == 4_000_000_000

    def test_version_2_without_a_limit(self, tmp_path):
        self.write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"})
        assert _system._control_group_bytes(tmp_path) is None

    def test_version_1_with_the_path_of_the_host(self, tmp_path):
        # In a container of version 1 the group's path is the host's; the limit is found at the mount point.
        self.write(
            tmp_path,
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
                "sys/fs/cgroup/cpu/memory.limit_in_bytes": "1\n",
            },
        )
        assert _system._control_group_bytes(tmp_path) == 2_000_000_000

    def test_both_versions_side_by_side(self, tmp_path):
        self.write(
            tmp_path,
            {
                "proc/self/cgroup": "4:memory:/job\n0::/job\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000000000\n",
            },
        )
        assert _system._control_group_bytes(tmp_path) == 3_000_000_000


class TestPeak:
    def test_grows_with_what_is_touched_and_stays(self):
        # In a process of its own: this one may have had a higher peak before.
        code = (
            "import numpy as np\n"
            "from homodyne_memory import peak_memory_gb\n"
            "before = peak_memory_gb()\n"
            "block = np.ones(25_000_000)\n"
            "held = peak_memory_gb()\n"
            "del block\n"
            "print(before, held, peak_memory_gb())\n"
        )
        printed = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        before, held, after = map(float, printed.split())
        assert 0.15 < held - before < 0.3  # 0.2 GB were touched
        # Linux counts resident pages in batches for each core, so the mark is good to some pages.
        assert after == pytest.approx(held, abs=0.01)

    def test_status_file(self, tmp_path):
        status = tmp_path / "status"
        status.write_text("Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t    2048 kB\n")
        assert _system._peak_bytes_of_proc(status) == 2048 * 1024
        status.write_text("Name:\tpython\n")
        assert _system._peak_bytes_of_proc(status) is None
        assert _system._peak_bytes_of_proc(tmp_path / "missing") is None

    def test_getrusage_in_the_units_of_the_system(self, monkeypatch):
        resource = pytest.importorskip("resource", reason="getrusage exists on POSIX systems only")

        class Usage:
            ru_maxrss = 1000

        monkeypatch.setattr(resource, "getrusage", lambda who: Usage)
        monkeypatch.setattr(_system.sys, "platform", "linux")
        assert _system._peak_bytes_of_getrusage() == 1_024_000
        monkeypatch.setattr(_system.sys, "platform", "darwin")
        assert _system._peak_bytes_of_getrusage() == 1000

    def test_current_memory_where_no_peak_is_kept(self, monkeypatch):
        monkeypatch.setattr(_system, "_peak_bytes_of_proc", lambda status: None)
        monkeypatch.setattr(_system, "_peak_bytes_of_getrusage", lambda: None)
        assert 0.005 < peak_memory_gb() < total_memory_gb()
