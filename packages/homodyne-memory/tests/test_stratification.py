import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homodyne_memory import (
    StratifiedIndices,
    create_angle_stratified_data,
    create_angle_stratified_indices,
    should_use_stratification,
)

counts_of_angles = st.lists(st.integers(1, 60), min_size=1, max_size=60)
layouts = st.sampled_from(["angle after angle", "alternating", "shuffled", "many runs"])


def angle_per_point(counts, layout, seed):
    """Index of the angle of every point, in one of the orders that data come in."""
    blocks = np.repeat(np.arange(len(counts)), counts)
    if layout == "alternating":
        return blocks[np.argsort(np.concatenate([np.arange(c) for c in counts]), kind="stable")]
    if layout == "shuffled":
        return np.random.default_rng(seed).permutation(blocks)
    if layout == "many runs":
        pieces = np.array_split(blocks, min(7, blocks.size))
        return np.concatenate([pieces[i] for i in np.random.default_rng(seed).permutation(len(pieces))])
    return blocks


def assert_a_stratified_partition(chunks, phi, target):
    counts = np.unique(phi, return_counts=True)[1]
    joined = np.concatenate(list(chunks))
    assert joined.dtype == np.int64
    np.testing.assert_array_equal(np.sort(joined), np.arange(phi.size))  # every point exactly once
    assert len(chunks) == min(-(-phi.size // target), counts.min())
    sizes = []
    for chunk in chunks:
        present, of_each = np.unique(phi[chunk], return_counts=True)
        np.testing.assert_array_equal(present, np.unique(phi))  # every angle in every chunk
        assert (np.abs(of_each - counts / len(chunks)) < 1).all()  # in its share
        sizes.append(chunk.size)
    assert max(sizes) - min(sizes) <= 1


class TestIndices:
    @given(counts_of_angles, st.integers(1, 400), layouts, st.integers(0, 2**32 - 1))
    def test_partition_with_every_angle_everywhere(self, counts, target, layout, seed):
        phi = angle_per_point(counts, layout, seed)
        assert_a_stratified_partition(create_angle_stratified_indices(phi, target), phi, target)

    @given(counts_of_angles, st.integers(1, 400), st.integers(0, 2**32 - 1))
    def test_angles_in_degrees_give_the_same_chunks_as_their_indices(self, counts, target, seed):
        index = angle_per_point(counts, "shuffled", seed)
        degrees = np.sort(np.random.default_rng(seed).uniform(-180, 180, len(counts)))
        by_index = create_angle_stratified_indices(index, target)
        by_degrees = create_angle_stratified_indices(degrees[index], target)
        np.testing.assert_array_equal(by_degrees.angles, degrees)
        np.testing.assert_array_equal(by_degrees.counts, by_index.counts)
        for one, other in zip(by_index, by_degrees, strict=True):
            np.testing.assert_array_equal(one, other)

    @given(counts_of_angles, st.integers(1, 400))
    def test_counts_alone_are_enough_for_data_in_order(self, counts, target):
        phi = angle_per_point(counts, "angle after angle", 0)
        from_points = create_angle_stratified_indices(phi, target)
        from_counts = StratifiedIndices.from_counts(counts, target)
        for one, other in zip(from_points, from_counts, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("layout", ["angle after angle", "alternating", "shuffled", "many runs"])
    def test_strongly_unequal_angles(self, layout):
        # One chunk more than the smallest angle's 3 points would lack it.
        phi = angle_per_point([3, 5000, 40, 900], layout, seed=1)
        chunks = create_angle_stratified_indices(phi, target_chunk_size=100)
        assert len(chunks) == 3
        assert_a_stratified_partition(chunks, phi, target=100)

    def test_larger_than_one_scan_and_a_run_across_its_seam(self):
        phi = angle_per_point([700_000, 650_000, 900_001], "angle after angle", 0)
        chunks = create_angle_stratified_indices(phi)
        assert chunks._order is None
        assert chunks._starts.tolist() == [0, 700_000, 1_350_000]
        assert_a_stratified_partition(chunks, phi, target=100_000)

    def test_a_hundredth_of_a_copy(self):
        phi = angle_per_point([50_000] * 23, "angle after angle", 0)
        copy = 4 * 8 * phi.size  # phi, t1, t2, C2
        tracemalloc.start()
        chunks = create_angle_stratified_indices(phi)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert chunks.nbytes < 0.01 * copy
        assert held < 0.01 * copy

    @pytest.mark.parametrize("run, limit", [(200, 0.01), (100, 0.01), (1, 0.27)])
    def test_memory_of_interrupted_angles(self, run, limit):
        # Angles that alternate every `run` points, as where several files follow each other.
        phi = np.tile(np.repeat(np.arange(20), run), 600_000 // (20 * run))
        chunks = create_angle_stratified_indices(phi)
        assert chunks.nbytes <= limit * 4 * 8 * phi.size
        assert_a_stratified_partition(chunks, phi, target=100_000)

    def test_positions_beyond_32_bits(self):
        # Nothing of the length of the data is made, so that 9e9 points cost nothing here.
        counts = [3_000_000_000, 2_999_999_999, 3_000_000_001]
        chunks = StratifiedIndices.from_counts(counts, target_chunk_size=10_000)
        assert len(chunks) == 900_000
        last = chunks[-1]
        assert last.dtype == np.int64
        assert last.max() == 8_999_999_999
        assert last.size == 10_000
        angle_of = np.searchsorted(np.cumsum(counts), last, side="right")
        np.testing.assert_array_equal(np.bincount(angle_of), [3333, 3333, 3334])

    def test_a_sequence(self):
        chunks = StratifiedIndices.from_counts([6, 6], target_chunk_size=4)
        assert len(chunks) == 3
        assert chunks.n_points == 12
        np.testing.assert_array_equal(chunks[-1], chunks[2])
        with pytest.raises(IndexError, match="chunk 3 of 3"):
            chunks[3]

    @pytest.mark.parametrize(
        "phi", [[], 3.0, [[1.0, 2.0]], [1.0, np.nan], [np.inf, 1.0], ["a", "b"], [True, False]]
    )
    def test_wrong_angles(self, phi):
        with pytest.raises(ValueError, match=r"phi .*expected"):
            create_angle_stratified_indices(phi)

    def test_wrong_chunk_size(self):
        with pytest.raises(ValueError, match="target_chunk_size is 0"):
            create_angle_stratified_indices([1.0, 2.0], 0)
        with pytest.raises(TypeError, match="target_chunk_size is 1.5"):
            create_angle_stratified_indices([1.0, 2.0], 1.5)

    @pytest.mark.parametrize(
        "counts, error", [([], ValueError), ([3, 0], ValueError), ([[1]], ValueError), ([1.5], TypeError)]
    )
    def test_wrong_counts(self, counts, error):
        with pytest.raises(error, match="angle_counts"):
            StratifiedIndices.from_counts(counts)


class TestData:
    @given(counts_of_angles, st.integers(1, 400), layouts, st.integers(0, 2**32 - 1))
    def test_copies_hold_every_point_once_and_stay_together(self, counts, target, layout, seed):
        phi = angle_per_point(counts, layout, seed)
        number = np.arange(phi.size)
        pairs = np.stack([number, -number], axis=1)
        data = create_angle_stratified_data(phi, {"phi": phi, "number": number, "pairs": pairs}, target)
        chunks = [chunk["number"] for chunk in data]
        assert_a_stratified_partition(chunks, phi, target)
        np.testing.assert_array_equal(data.arrays["phi"], phi[data.arrays["number"]])
        np.testing.assert_array_equal(data.arrays["pairs"], pairs[data.arrays["number"]])

    def test_chunks_are_views_and_dtypes_stay(self):
        c2 = np.arange(10, dtype=np.float32)
        data = create_angle_stratified_data([0] * 5 + [1] * 5, {"c2": c2}, target_chunk_size=5)
        assert len(data) == 2
        assert data[1]["c2"].base is data.arrays["c2"]
        assert data[-1]["c2"].tolist() == data[1]["c2"].tolist()
        assert data.arrays["c2"].dtype == np.float32
        assert data.boundaries.tolist() == [0, 5, 10]
        with pytest.raises(IndexError, match="chunk 2 of 2"):
            data[2]

    def test_arrays_are_as_long_as_phi(self):
        with pytest.raises(ValueError, match=r"t1 has shape \(3,\); expected \(4, ...\)"):
            create_angle_stratified_data([0, 0, 1, 1], {"t1": np.zeros(3)})


class TestDecision:
    def test_yes(self):
        decision = should_use_stratification([40_000, 80_000, 200_000])
        assert decision
        assert decision.use is True
        assert (decision.n_points, decision.n_angles, decision.imbalance_ratio) == (320_000, 3, 5.0)

    @pytest.mark.parametrize(
        "counts, options, reason",
        [
            ([50_000, 49_999], {}, "fewer than 100000"),
            ([60_000, 60_000], {"per_angle_scaling": False}, "share their scaling"),
            ([500_000], {}, "one angle only"),
            ([39_999, 200_000], {}, "5 times the points of the smallest, more than 5"),
            ([50_000, 200_000], {"max_imbalance_ratio": 3.0}, "4 times"),
        ],
    )
    def test_no_with_its_reason(self, counts, options, reason):
        decision = should_use_stratification(counts, **options)
        assert not decision
        assert reason in decision.reason

    def test_limits_are_allowed(self):
        assert should_use_stratification([50_000, 50_000])

    @given(counts_of_angles)
    def test_approved_data_give_chunks_of_the_wanted_size(self, counts):
        counts = [100_000 * c for c in counts]
        if should_use_stratification(counts):
            chunks = StratifiedIndices.from_counts(counts)
            assert len(chunks) == sum(counts) // 100_000

    @pytest.mark.parametrize("ratio", [0.5, float("nan")])
    def test_wrong_ratio(self, ratio):
        with pytest.raises(ValueError, match="max_imbalance_ratio"):
            should_use_stratification([10, 10], max_imbalance_ratio=ratio)
