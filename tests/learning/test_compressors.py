"""Compressors: what is sent is what is counted, and what is made of it keeps the laws of its paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.learning.compressors import Compressor, bundle, unbundle
from toolkit.learning.compressors.memory import Corrected, Residual
from toolkit.learning.compressors.one_bit import OneBitCompressor
from toolkit.learning.compressors.packing import pack, packed_bytes, unpack
from toolkit.learning.compressors.powersgd import PowerSgdCompressor
from toolkit.learning.compressors.qsgd import QsgdCompressor
from toolkit.learning.compressors.random_k import RandomKCompressor
from toolkit.learning.compressors.sign import Sign
from toolkit.learning.compressors.terngrad import TernGradCompressor
from toolkit.learning.compressors.top_k import TopKCompressor
from toolkit.learning.finite import NotFiniteError
from toolkit.learning.random import torch_generator

SIZES = (1, 7, 8, 9, 64, 513, 1200)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=generator(seed))


def halves(size: int) -> tuple[int, ...]:
    return (size // 2, size - size // 2) if size > 1 else (size,)


MAKERS = {
    "top_k": lambda d: TopKCompressor(max(1, d // 10)),
    "random_k": lambda d: RandomKCompressor(max(1, d // 10), seed=5),
    "random_k unbiased": lambda d: RandomKCompressor(max(1, d // 10), seed=5, unbiased=True),
    "qsgd": lambda d: QsgdCompressor(),
    "qsgd 5 bits": lambda d: QsgdCompressor(levels=9, bucket=64, norm="max"),
    "terngrad": lambda d: TernGradCompressor(halves(d)),
    "sign": lambda d: Sign(),
    "sign scaled": lambda d: Sign(halves(d), scaled=True),
    "one_bit": lambda d: OneBitCompressor(halves(d)),
    "powersgd": lambda d: PowerSgdCompressor(((d, 1),) if d % 24 else ((d // 24, 12), (12, d // 24)), 1),
}
EVERY = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@EVERY
@pytest.mark.parametrize("size", SIZES)
def test_wire_bytes_are_the_bytes_of_the_payload(make, size: int) -> None:
    compressor: Compressor = make(size)
    payload = compressor.compress(normal(size), generator())
    assert sum(tensor.nbytes for tensor in payload) == compressor.wire_bytes(size)
    assert bundle(payload).nbytes == compressor.wire_bytes(size)


@EVERY
@pytest.mark.parametrize("size", SIZES)
def test_the_vector_is_left_alone_and_the_same_draws_give_the_same_payload(make, size: int) -> None:
    vector, compressor = normal(size), make(size)
    before = vector.clone()
    first, second = compressor.compress(vector, generator(3)), compressor.compress(vector, generator(3))
    assert torch.equal(vector, before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@EVERY
@pytest.mark.parametrize("size", SIZES)
def test_adding_is_decompressing_and_adding(make, size: int) -> None:
    compressor = make(size)
    payload = compressor.compress(normal(size), generator())
    vector, total = compressor.decompress(payload, size), normal(size, 9)
    expected = total - 0.5 * vector
    compressor.add(payload, total, alpha=-0.5)
    assert vector.shape == (size,)
    assert vector.dtype == torch.float32
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(compressor.mean([payload, payload, payload], size), vector)


@EVERY
def test_a_message_gives_back_its_tensors(make) -> None:
    size = 1200
    compressor = make(size)
    mine, theirs = compressor.compress(normal(size, 1), generator(1)), compressor.compress(normal(size, 2), generator(2))
    for sent, found in zip(theirs, unbundle(bundle(theirs), mine), strict=True):
        assert sent.dtype == found.dtype
        assert torch.equal(sent, found)


@EVERY
def test_zeros_stand_for_zeros_where_a_scale_is_sent_and_work_is_never_nothing(make) -> None:
    compressor = make(1200)
    payload = compressor.compress(torch.zeros(1200), generator())
    if compressor != Sign():
        assert torch.equal(compressor.decompress(payload, 1200).abs(), torch.zeros(1200))
    assert min(*compressor.work(1200), *compressor.add_work(1200)) > 0
    assert compressor.work(1200)[1] >= 4 * (1200 if not isinstance(compressor, RandomKCompressor) else compressor.k)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 5, 8, 9, 100, 1001])
def test_packing_keeps_codes_in_the_fewest_bytes(bits: int, count: int) -> None:
    codes = torch.randint(0, 1 << bits, (count,), generator=generator(bits))
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.nbytes == packed_bytes(count, bits) == -(-count * bits // 8)
    assert torch.equal(unpack(packed, bits, count), codes)


def test_packing_by_hand() -> None:
    assert pack(torch.tensor([1, 0, 0, 0, 0, 0, 0, 1, 1]), 1).tolist() == [0b10000001, 1]
    assert pack(torch.tensor([3, 0, 1, 2]), 2).tolist() == [0b10_01_00_11]
    assert pack(torch.tensor([7, 7, 7]), 3).tolist() == [0xFF, 0x01]
    with pytest.raises(ValueError, match="bits: 9 is not in 1 to 8"):
        pack(torch.tensor([1]), 9)


def test_top_k_by_hand_and_what_it_leaves_is_small() -> None:
    values, indices = TopKCompressor(2).compress(torch.tensor([1.0, -5.0, 0.0, 3.0]))
    assert dict(zip(indices.tolist(), values.tolist(), strict=True)) == {1: -5.0, 3: 3.0}
    assert indices.dtype == torch.int32
    vector = normal(1000)
    left = vector.clone()
    TopKCompressor(100).add(TopKCompressor(100).compress(vector), left, alpha=-1.0)
    assert (left == 0).sum() == 100
    assert left.square().sum() <= (1 - 100 / 1000) * vector.square().sum()


def test_random_k_draws_different_coordinates_and_adds_up_on_the_way() -> None:
    compressor = RandomKCompressor(50, seed=8)
    u, v = normal(400, 1), normal(400, 2)
    both = compressor.compress(u)[0] + compressor.compress(v)[0]
    vector = compressor.decompress((both,), 400)
    assert (vector != 0).sum() == 50
    torch.testing.assert_close(vector[vector != 0], (u + v)[vector != 0])
    other = RandomKCompressor(50, seed=9)
    assert not torch.equal(other.decompress(other.compress(u), 400), compressor.decompress(compressor.compress(u), 400))


def averaged(make, vector: torch.Tensor, rounds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and summed variance of what a payload stands for, over many draws."""
    draws = torch.stack([make(i).decompress(make(i).compress(vector, generator(i)), vector.numel()) for i in range(rounds)])
    return draws.mean(0), draws.var(0)


@pytest.mark.parametrize(
    "make",
    [lambda i: QsgdCompressor(levels=1, bucket=16), lambda i: QsgdCompressor(levels=7, bucket=16, norm="max"),
     lambda i: TernGradCompressor((20, 28), clip=0.0), lambda i: RandomKCompressor(6, seed=i, unbiased=True)],
    ids=["qsgd 1", "qsgd 7 max", "terngrad", "random_k"],
)
def test_unbiased_ones_are_right_on_average(make) -> None:
    vector, rounds = normal(48), 1500
    mean, variance = averaged(make, vector, rounds)
    assert ((mean - vector).abs() <= 4.5 * (variance / rounds).sqrt() + 1e-6).all()


@pytest.mark.parametrize("levels", [1, 3, 7])
def test_qsgd_varies_no_more_than_its_lemma_says(levels: int) -> None:
    """Lemma 3.1: E|Q(v) - v|^2 <= min(d/s^2, sqrt(d)/s) |v|^2."""
    vector = normal(64)
    _, variance = averaged(lambda i: QsgdCompressor(levels, 64), vector, 400)
    assert variance.sum() <= 1.1 * min(64 / levels**2, 8 / levels) * vector.square().sum()
    assert variance.sum() > 0


def test_qsgd_by_hand() -> None:
    vector = torch.tensor([3.0, 0.0, -4.0, 0.0, 2.0])  # norms 5 (bucket of four) and 2 (the rest)
    compressor = QsgdCompressor(levels=5, bucket=4)
    assert compressor.bits == 4
    assert [QsgdCompressor(s).bits for s in (1, 2, 3, 4, 7, 8, 127)] == [2, 3, 3, 4, 4, 5, 8]
    norms, packed = compressor.compress(vector, generator())
    assert norms.tolist() == [5.0, 2.0]
    assert unpack(packed, 4, 5).tolist() == [8, 5, 1, 5, 10]  # levels 3, 0, -4, 0, 5 of 5, which need no rounding
    torch.testing.assert_close(compressor.decompress((norms, packed), 5), vector)


def test_terngrad_clips_what_stands_out_in_its_layer() -> None:
    flat = torch.ones(100)
    spike = torch.ones(100)
    spike[0] = 1000.0
    scales, packed = TernGradCompressor((100, 100)).compress(torch.cat([flat, spike]), generator())
    assert scales[0] == 1.0
    assert float(scales[1]) == pytest.approx(2.5 * float(spike.square().mean().sqrt()))
    assert unpack(packed, 2, 200)[:101].tolist() == [2] * 101
    assert set(unpack(packed, 2, 200).tolist()) <= {0, 1, 2}


def test_scaled_signs_leave_what_their_lemma_says() -> None:
    """|e - C(e)|^2 = |e|^2 - |e|_1^2/d, in each layer."""
    vector, sizes = normal(90), (30, 60)
    compressor = Sign(sizes, scaled=True)
    left = vector - compressor.decompress(compressor.compress(vector), 90)
    for part, rest in zip(vector.split(sizes), left.split(sizes), strict=True):
        expected = part.square().sum() - part.abs().sum().square() / part.numel()
        torch.testing.assert_close(rest.square().sum(), expected)


def test_the_sign_of_zero_is_either_with_a_generator_and_positive_without() -> None:
    votes = Sign().decompress(Sign().compress(torch.zeros(4000), generator()), 4000)
    assert abs(float(votes.mean())) < 4 / 4000**0.5
    assert torch.equal(Sign().decompress(Sign().compress(torch.zeros(9)), 9), torch.ones(9))


def test_one_bit_by_hand_and_no_other_pair_of_values_leaves_less() -> None:
    vector = torch.tensor([1.0, 3.0, -2.0, -6.0, 5.0, 5.0])
    up, down, packed = OneBitCompressor((4, 2)).compress(vector)
    assert up.tolist() == [2.0, 5.0]
    assert down.tolist() == [-4.0, 0.0]
    assert packed.tolist() == [0b110011]
    vector = normal(200)
    made = OneBitCompressor().decompress(OneBitCompressor().compress(vector), 200)
    best = (vector - made).square().sum()
    for above, below in ((1.05, 1.0), (1.0, 0.95), (0.95, 1.05)):
        assert (vector - torch.where(made > 0, made * above, made * below)).square().sum() > best
    torch.testing.assert_close(made.sum(), vector.sum())


def test_powersgd_is_exact_for_matrices_of_its_rank() -> None:
    first = normal(30 * 2).view(30, 2) @ normal(2 * 20, 1).view(2, 20)
    second = normal(8 * 2, 2).view(8, 2) @ normal(2 * 40, 3).view(2, 40)
    vector = torch.cat([first.view(-1), second.view(-1)])
    compressor = PowerSgdCompressor(((30, 20), (8, 40)), 2)
    torch.testing.assert_close(compressor.decompress(compressor.compress(vector, generator()), 920), vector, atol=1e-4, rtol=1e-4)


def test_powersgd_with_a_warm_start_comes_to_the_best_approximation() -> None:
    matrix = normal(40 * 30).view(40, 30)
    compressor = PowerSgdCompressor(((40, 30),), 3)
    right = compressor.draw(generator())
    for _ in range(200):
        left = compressor.orthogonal(compressor.left(matrix.view(-1), right))
        right = compressor.right(matrix.view(-1), left)
    columns = left.view(40, 3)
    torch.testing.assert_close(columns.T @ columns, torch.eye(3), atol=1e-5, rtol=0)
    missed = (matrix - compressor.product(left, right).view(40, 30)).square().sum()
    assert float(missed) == pytest.approx(float(torch.linalg.svdvals(matrix)[3:].square().sum()), rel=1e-3)


def test_halves_of_powersgd_add_up_over_workers() -> None:
    compressor = PowerSgdCompressor(((12, 10), (5, 9)), 2)
    vectors = [normal(165, i) for i in range(3)]
    right = compressor.draw(generator())
    left = compressor.orthogonal(torch.stack([compressor.left(v, right) for v in vectors]).mean(0))
    summed = torch.stack([compressor.right(v, left) for v in vectors]).mean(0)
    mean = torch.stack(vectors).mean(0)
    torch.testing.assert_close(compressor.right(mean, left), summed, atol=1e-5, rtol=1e-5)


@EVERY
def test_what_was_sent_and_what_is_kept_is_what_came_in(make) -> None:
    size = 1200
    compressor, memory = make(size), Residual.zeros(size)
    if isinstance(compressor, RandomKCompressor) and compressor.unbiased:
        pytest.skip("has no memory")
    sent, came = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for index in range(20):
        gradient = normal(size, index)
        payload = compressor.compress(memory.add(gradient, 0.5), generator(index))
        memory.remove(compressor, payload)
        sent += compressor.decompress(payload, size)
        came += 0.5 * gradient
    assert (sent + memory.error - came).norm() <= 1e-5 * came.norm()


@EVERY
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_and_the_memory_is_left_alone(make, bad: float) -> None:
    vector = normal(240)
    vector[17] = bad
    with pytest.raises(NotFiniteError, match=r"compress: the vector: element 17 is -?(nan|inf); it takes finite numbers"):
        make(240).compress(vector, generator())
    for memory in (Residual.zeros(240), Corrected.zeros(240, 0.9)):
        memory.add(normal(240, 1))
        before = memory.error.clone()
        with pytest.raises(NotFiniteError, match="the gradient: element 17"):
            memory.add(vector)
        assert torch.equal(memory.error, before)


@EVERY
def test_of_huge_finite_numbers_nothing_infinite_is_made(make) -> None:
    """Sums and squares of 3e38 are beyond float32: what cannot do without them refuses."""
    vector, compressor = normal(240).sign() * 3e38, make(240)
    try:
        payload = compressor.compress(vector, generator())
        mean = compressor.mean([payload], 240)
    except NotFiniteError:
        return
    assert mean.isfinite().all()


def test_those_whose_sums_overflow_say_so() -> None:
    vector = torch.full((240,), 3e38)
    for compressor in (QsgdCompressor(), TernGradCompressor(), Sign(scaled=True), OneBitCompressor()):
        with pytest.raises(NotFiniteError, match=r"the vector reaches to 3e\+38, and sums over it are beyond float32"):
            compressor.compress(vector, generator())
    with pytest.raises(NotFiniteError, match="the sum of what 2 payloads stand for: element 0 is inf"):
        TopKCompressor(3).mean([TopKCompressor(3).compress(vector)] * 2, 240)


def test_momentum_correction_by_hand() -> None:
    memory = Corrected.zeros(3, momentum=0.5)
    assert memory.add(torch.tensor([4.0, 1.0, 0.0])).tolist() == [4.0, 1.0, 0.0]
    memory.remove(TopKCompressor(1), TopKCompressor(1).compress(memory.error))
    assert memory.error.tolist() == [0.0, 1.0, 0.0]
    assert memory.velocity.tolist() == [0.0, 1.0, 0.0]
    assert memory.add(torch.tensor([1.0, 1.0, 1.0])).tolist() == [1.0, 2.5, 1.0]  # u = (1, 1.5, 1)
    unmasked = Corrected.zeros(3, momentum=0.5, masking=False)
    unmasked.add(torch.tensor([4.0, 1.0, 0.0]))
    unmasked.remove(TopKCompressor(1), TopKCompressor(1).compress(unmasked.error))
    assert unmasked.velocity.tolist() == [4.0, 1.0, 0.0]
    assert min(*memory.work(), *Residual.zeros(3).work()) > 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: TopKCompressor(5).compress(torch.zeros(4)), "k: 5 is not in 1 to 4"),
        (lambda: RandomKCompressor(0, seed=1).compress(torch.zeros(4)), "k: 0 is not in 1 to 4"),
        (lambda: QsgdCompressor(levels=128), "levels: 128 is not in 1 to 127"),
        (lambda: QsgdCompressor(bucket=0), "bucket: 0 is below 1"),
        (lambda: Sign((3, 3), scaled=True).compress(torch.zeros(7)), "add up to 6, and the vector has 7"),
        (lambda: PowerSgdCompressor(((4, 3),), 4), "rank: 4 is not in 1 to 3"),
        (lambda: Sign().mean([], 4), "no payloads"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_torch_generators_follow_their_numpy_stream() -> None:
    def draw(rng):
        return torch.rand(3, generator=torch_generator(rng)).tolist()

    rng = np.random.default_rng(1)
    assert draw(rng) == draw(np.random.default_rng(1)) != draw(rng)
