import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homodyne_cmc._problem import sums_of_draws
from homodyne_cmc._shards import frames_of_shard, make_shards
from homodyne_data import TwoTimeData, open_xpcs, save_apsu
from homodyne_model import pair_sums

pytestmark = pytest.mark.usefixtures("as_inside_a_fit")


def plain(data_of, truth):
    return data_of(truth)


def masked(data_of, truth, seed=3):
    maps, rng = truth.noisy_maps(0.02, seed=seed), np.random.default_rng(seed)
    for a, i, j in rng.integers(0, maps.shape, (60, 3)):
        maps[a, i, j] = maps[a, j, i] = np.nan
    return data_of(truth, maps=maps, good_frames=rng.random(maps.shape[1]) > 0.1, symmetric=True)


def two_measurements(data_of, truth):
    noise = np.random.default_rng(7).normal(scale=0.02, size=truth.maps().shape)
    return data_of(truth, maps=truth.maps() + noise)


def own_sigma(data_of, truth):
    sigma = np.random.default_rng(1).uniform(0.01, 0.03, truth.maps().shape)
    sigma = (sigma + np.swapaxes(sigma, 1, 2)) / 2
    data = data_of(truth)
    return data.with_sigma(sigma)


KINDS = {"plain": plain, "masked": masked, "two measurements": two_measurements, "own sigma": own_sigma}


def cost(data, truth, known):
    """Weighted residual sum over all counted entries at the truth, an offset of 1.1 and a contrast of 0.3."""
    c2 = 1.1 + 0.3 * (truth.maps() - truth.offset[:, None, None]) / truth.contrast[:, None, None]
    weights = np.stack([data.weights(a) for a in range(data.n_phi)]) if known else data.mask.astype(float)
    return (weights * np.where(data.mask, data.c2 - c2, 0.0) ** 2).sum((1, 2))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("n_shards", [1, 7])
def test_the_shards_hold_every_point_once(rest, data_of, kind, known, n_shards):
    data = kind(data_of, rest)
    shards = make_shards(data, n_shards, known_noise=known)
    assert shards.n_points == data.n_points
    total = np.zeros(data.n_phi)
    for stored in shards.shards:
        shard = stored.load()
        sums = pair_sums(rest.model, rest.physical, shard.c2, shard.weights, frames=shard.frames)
        f1, ff, fy = np.asarray(sums * shard.angle_weight[:, None]).T
        w, y, yy = shard.moments.sums.T
        o, c = 0.1, 0.3
        total += (
            yy + shard.moments.constant + c * c * ff + o * o * w + 2 * c * o * f1 - 2 * c * fy - 2 * o * y
        )
        assert shard.c2.shape == (3, -(-40 // n_shards), 40)
    np.testing.assert_allclose(total, cost(data, rest, known), rtol=1e-9)


def test_a_full_symmetric_matrix_is_its_triangle(rest, data_of):
    data = data_of(rest)
    lower = np.where(np.tri(40, k=-1, dtype=bool), data.c2, np.nan)
    one, other = (
        make_shards(d, 3, known_noise=True) for d in (data, data_of(rest, maps=lower, symmetric=True))
    )
    for a, b in zip(one.shards, other.shards, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a.data.moments, b.data.moments)
        draws = jnp.asarray(rest.physical[None])
        problem = _Sums(rest.model)
        np.testing.assert_array_equal(problem(a.load(), draws), problem(b.load(), draws))


class _Sums:
    def __init__(self, model):
        self.model = model

    def __call__(self, shard, draws):
        return np.asarray(pair_sums(self.model, draws[0], shard.c2, shard.weights, frames=shard.frames))


@pytest.mark.parametrize("known", [True, False])
def test_files_and_memory_hold_the_same(rest, data_of, tmp_path, known):
    data = masked(data_of, rest)
    save_apsu(tmp_path / "maps.hdf", data)
    inside = make_shards(data, 4, known_noise=known)
    outside = make_shards(data, 4, known_noise=known, folder=tmp_path / "shards")
    assert inside.identity == outside.identity
    for a, b in zip(inside.shards, outside.shards, strict=True):
        assert isinstance(b.data.c2, str)
        jax.tree.map(np.testing.assert_array_equal, a.load(), b.load())


def test_a_stream_gives_the_points_of_its_file(rest, data_of, tmp_path):
    data = data_of(rest)
    save_apsu(tmp_path / "maps.hdf", data)
    with open_xpcs(tmp_path / "maps.hdf", sigma=0.005) as stream:
        streamed = make_shards(stream, 3, known_noise=True)
    held = make_shards(data, 3, known_noise=True)
    np.testing.assert_allclose(streamed.moments.sums, held.moments.sums)
    np.testing.assert_allclose(streamed.sigma, 0.005)


def test_identity_follows_the_points_and_their_noise(rest, data_of):
    data = data_of(rest)
    identity = make_shards(data, 2, known_noise=True).identity
    assert make_shards(data, 5, known_noise=True).identity == identity
    assert make_shards(data, 2, known_noise=False).identity != identity
    assert make_shards(data_of(rest, seed=2), 2, known_noise=True).identity != identity
    other = TwoTimeData(data.c2, data.phi, data.t, data.q, sigma=0.03)
    assert make_shards(other, 2, known_noise=True).identity != identity


@pytest.mark.parametrize("n_shards", [1, 3, 39])
def test_frames_of_all_shards_are_the_frames(n_shards):
    frames = [frames_of_shard(k, n_shards, 40) for k in range(n_shards)]
    assert {len(f) for f in frames} == {-(-40 // n_shards)}
    assert sorted(set(np.concatenate(frames))) == list(range(40))
    assert all((np.diff(f) >= 0).all() for f in frames)


def test_sums_of_many_draws(rest, data_of, problem_of):
    problem, _ = problem_of(rest)
    shard = make_shards(data_of(rest), 2, known_noise=True).shards[0].load()
    draws = jnp.asarray(rest.physical * np.linspace(0.9, 1.1, 3)[:, None])
    found = sums_of_draws(problem, jax.tree.map(jnp.asarray, shard), draws)
    expected = np.stack([np.asarray(problem.sums(d, shard)) for d in draws])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
