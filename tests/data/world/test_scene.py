"""The toy world's scenes: determinism, splits, geometry and drawing."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from vlcourse.data import world
from vlcourse.data.world import Object, Scene, World, render_batch, words
from vlcourse.data.world.arrays import MARGIN, sample_arrays
from vlcourse.data.world.words import hash64, hash_int, in_split

SEEDS = hash64(7, np.arange(4000))


def pairs_of(arrays: world.SceneArrays) -> np.ndarray:
    return np.where(np.arange(4) < arrays.count[:, None], arrays.pair, -1)


def test_vocabulary() -> None:
    assert len(world.COLOURS) == 8 and len(world.SHAPES) == 6 and len(world.CLASSES) == 48
    assert len(world.HELD_OUT) == 8 and len(world.SEEN) == 40
    assert set(world.HELD_OUT) | set(world.SEEN) == set(world.CLASSES)
    assert sorted(c for c, _ in world.HELD_OUT) == sorted(world.COLOURS)
    shapes = [s for _, s in world.HELD_OUT]
    assert max(shapes.count(s) for s in world.SHAPES) <= 2
    assert world.CLASSES[world.class_index("blue", "star")] == ("blue", "star")


def test_hash_is_splitmix64() -> None:
    # The first outputs of splitmix64 from state 0, as in its authors' reference code.
    golden = 0x9E3779B97F4A7C15
    states = [k * golden % 2**64 for k in range(3)]
    outputs = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [hash_int(state) for state in states] == outputs
    assert hash64(np.array(states, np.uint64)).tolist() == outputs
    keys = np.arange(1000)
    assert hash64(5, keys, 9).tolist() == [hash_int(5, int(k), 9) for k in keys]


def test_pixels_are_pinned() -> None:
    digest = hashlib.sha256()
    for split in world.SPLITS:
        for size, n in ((32, 128), (65, 16), (224, 8)):
            arrays = sample_arrays(SEEDS[:n], split)
            digest.update(render_batch(arrays, size).tobytes())
    assert digest.hexdigest() == "c5ea33158d89d21898384dbdda2ed6203e0e162cfa32888a94dc41f88cd63497"


@pytest.mark.parametrize("split", world.SPLITS)
def test_a_scene_does_not_depend_on_its_batch(split: str) -> None:
    data = World(split, n=300, seed=3)
    many = data.__getitems__(range(300))
    for i in (0, 17, 299):
        one = data[i]
        assert torch.equal(one["image"], many[i]["image"])
        assert one["caption"] == many[i]["caption"] and one["scene"] == many[i]["scene"]
        scene = one["scene"]
        assert torch.equal(scene.render(32), one["image"])
        assert Scene.sample(scene.seed, split) == scene


def test_objects_lie_apart_and_inside() -> None:
    for split in world.SPLITS:
        a = sample_arrays(SEEDS, split)
        for i in range(4):
            mine = a.count > i
            x, y, r = a.x[mine, i], a.y[mine, i], a.radius[mine, i]
            assert (np.minimum(x, y) >= r).all() and (np.maximum(x, y) + r <= 1024).all()
            for j in range(i):
                dx, dy = x - a.x[mine, j], y - a.y[mine, j]
                reach = r + a.radius[mine, j]
                assert (np.sqrt(dx**2 + dy**2) >= 0.9374 * reach).all()
                # So that one of above, below, left of, right of always holds.
                assert (np.maximum(abs(dx), abs(dy)) >= MARGIN).all()
        large = a.radius[(a.size == 1) & (a.radius > 0)]
        small = a.radius[(a.size == 0) & (a.radius > 0)]
        if split != "shifted":
            assert large.min() / small.max() > 1.4 and small.max() / small.min() < 1.3


def test_counts_and_sizes_are_spread() -> None:
    a = sample_arrays(SEEDS, "train")
    assert (np.bincount(a.count, minlength=5)[1:] / len(a) > 0.22).all()
    ones = sample_arrays(SEEDS, "train", (1, 1))
    assert 0.45 < ones.size[:, 0].mean() < 0.55
    share = np.bincount(ones.pair[:, 0], minlength=48) / len(ones)
    assert (share > 0).sum() == 40 and share.max() < 0.04
    assert (sample_arrays(SEEDS, "train", (3, 3)).count == 3).all()


def test_held_out_pairs_and_test_scenes_do_not_occur_in_training() -> None:
    held_out = [world.CLASSES.index(pair) for pair in world.HELD_OUT]
    n = 20_000
    arrays = {split: World(split, n=n).arrays(np.arange(n)) for split in world.SPLITS}
    for split in ("train", "val", "test", "shifted"):
        assert not np.isin(pairs_of(arrays[split]), held_out).any()
    assert np.isin(pairs_of(arrays["heldout"]), held_out).any(axis=1).all()
    ones = arrays["heldout"].count == 1
    assert np.isin(arrays["heldout"].pair[ones, 0], held_out).all() and ones.any()

    signatures = {split: a.signature() for split, a in arrays.items()}
    for split in ("train", "val", "test"):
        for other in world.SPLITS:
            same_buckets = {split, other} == {"test", "shifted"}
            if other != split and not same_buckets:
                assert not np.isin(signatures[other], signatures[split]).any()
    # By construction, not by luck: the bucket of the content decides the split.
    for split in ("train", "val", "test"):
        assert in_split(signatures[split], split).all()
        assert [in_split(signatures[split], s).any() for s in ("train", "val", "test")].count(
            True
        ) == 1
    assert len(np.unique(signatures["train"])) > 0.8 * n


def test_the_signature_ignores_the_order_of_objects() -> None:
    a = sample_arrays(SEEDS, "test", (4, 4))
    turned = {k: getattr(a, k)[:, ::-1] for k in ("pair", "size", "x", "y", "radius")}
    assert (replace(a, **turned).signature() == a.signature()).all()


def test_shifts() -> None:
    plain = sample_arrays(SEEDS, "test")
    kinds = {shift: sample_arrays(SEEDS, "shifted", shift=shift) for shift in world.SHIFTS}
    assert (plain.texture < 2).all() and (plain.noise == 0).all()
    assert (kinds["background"].texture >= 2).all() and (kinds["background"].noise == 0).all()
    assert (kinds["noise"].noise > 0).all() and (kinds["noise"].texture < 2).all()
    old, new = (set(np.unique(a.radius)) - {0} for a in (plain, kinds["size"]))
    assert not old & new and (kinds["size"].texture < 2).all() and (kinds["size"].noise == 0).all()
    mixed = sample_arrays(SEEDS, "shifted")
    assert 0.25 < (mixed.noise > 0).mean() < 0.42 and 0.25 < (mixed.texture >= 2).mean() < 0.42
    assert not np.array_equal(render_batch(kinds["noise"][:4], 32), render_batch(plain[:4], 32))


def test_drawing_puts_colours_and_shapes_where_the_scene_says() -> None:
    for split in ("train", "shifted"):
        shift = "background" if split == "shifted" else None
        for scene in World(split, n=100, size=96, shift=shift).scenes():
            image = scene.render(96)
            for obj in scene.objects:
                # A ring is empty in the middle and painted beside it.
                x = obj.x + (0.74 * obj.radius if obj.shape == "ring" else 0)
                pixel = image[:, int(obj.y * 96), int(x * 96)]
                assert pixel.tolist() == list(world.RGB[obj.colour]), obj


def test_shapes_and_sizes_differ_at_32_pixels() -> None:
    for radius, size in ((0.115, "small"), (0.19, "large")):
        pictures = []
        for shape in world.SHAPES:
            scene = Scene((Object("white", shape, size, 0.5, 0.5, radius),))
            pictures.append(scene.render(32).float())
        for i, a in enumerate(pictures):
            for b in pictures[:i]:
                assert (a - b).abs().sum() / 3 / 255 > 5  # pixels' worth of ink


@pytest.mark.parametrize("size", [32, 33, 100, 448])
def test_any_size_shows_the_same_scene(size: int) -> None:
    scenes = World("val", n=8).scenes()
    small = torch.from_numpy(render_batch(scenes, 32)).float()
    big = torch.from_numpy(render_batch(scenes, size))
    assert big.shape == (8, 3, size, size) and big.dtype == torch.uint8
    shrunk = torch.nn.functional.interpolate(
        big.float(), size=(32, 32), mode="bilinear", antialias=True
    )
    assert (shrunk - small).abs().mean() < 4


def test_edges_are_anti_aliased() -> None:
    scene = Scene((Object("white", "circle", "large", 0.5, 0.5, 0.19),))
    for size in (32, 224):
        red = scene.render(size)[0].float()
        between = ((red > 90) & (red < 220)).float().sum()
        assert between > 0.5 * 2 * 3.14 * 0.19 * size  # about one pixel along the rim
        # The painted area is the disc's.
        ground = red[0, 0]
        area = ((red - ground) / (250 - ground)).clamp(0, 1)[red > 90].sum() / size**2
        assert area == pytest.approx(3.1416 * (0.94 * 0.19) ** 2, rel=0.04)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB in [0, 1] to CIELAB (D65)."""
    m = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = rgb @ m.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1.0.
COLOUR_BLIND = {
    "none": np.eye(3),
    "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6728, 0.0471], [-0.0118, 0.0429, 0.9689]],
}


@pytest.mark.parametrize("eyes", COLOUR_BLIND)
def test_colours_are_told_apart(eyes: str) -> None:
    paint = np.array([world.RGB[c] for c in world.COLOURS])
    grounds = np.concatenate(
        [
            render_batch(World(split, n=200).arrays(np.arange(200)), 32)[:, :, 0, 0]
            for split in ("train", "test")
        ]
    )

    def lab(values: np.ndarray) -> np.ndarray:
        linear = (values / 255) ** 2.2
        return to_lab(np.clip(linear @ np.array(COLOUR_BLIND[eyes]).T, 0, 1))

    for i, a in enumerate(lab(paint)):
        for b in lab(paint)[:i]:
            assert np.linalg.norm(a - b) > 15
        assert np.linalg.norm(lab(grounds) - a, axis=1).min() > 25


def test_hand_made_scenes() -> None:
    red = Object("red", "circle", "large", 0.3, 0.5, 0.19)
    blue = Object("blue", "square", "small", 0.75, 0.5, 0.12)
    scene = Scene((red, blue), seed=5)
    assert scene.is_true(world.Relation(world.Thing("red"), "left of", world.Thing("blue")))
    moved = replace(scene, objects=(red, replace(blue, y=0.8)))
    assert not torch.equal(moved.render(32), scene.render(32))
    assert all(moved.is_true(c) for c in moved.captions())
    on_top = Scene((red, replace(blue, x=0.31)))
    assert all(on_top.is_true(c) for c in on_top.captions()) and on_top.questions()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: World("trian"), "Did you mean 'train'"),
        (lambda: Scene.sample(0, "tset"), "Did you mean 'test'"),
        (lambda: World("shifted", shift="nois"), "Did you mean 'noise'"),
        (lambda: World("train", shift="noise"), "needs split='shifted'"),
        (lambda: World(size=16), "32 to 448"),
        (lambda: Scene.sample(0).render(449), "32 to 448"),
        (lambda: Scene.sample(0).render(40.5), "whole number"),
        (lambda: Scene.sample(-1), "seed"),
        (lambda: Scene.sample(0, n_objects=5), "objects must satisfy"),
        (lambda: World(objects=(3, 2)), "objects must satisfy"),
        (lambda: World(n=0), "at least 1"),
        (lambda: Scene(()), "1 to 4 objects"),
        (lambda: Object("reed", "circle", "small", 0.5, 0.5, 0.1), "Did you mean 'red'"),
        (lambda: Object("red", "circle", "small", 0.05, 0.5, 0.1), "inside"),
        (lambda: Scene((Object("red", "ring", "small", 0.5, 0.5, 0.1),) * 2), "tell them apart"),
        (lambda: world.class_prompt("red", "circel"), "Did you mean 'circle'"),
        (lambda: world.two_object_set(n=5000), "1 to 2000"),
        (lambda: world.single_object_set(n=0), "at least 1"),
        (lambda: Scene.sample(0).foils("swaped relation"), "Did you mean 'swapped relation'"),
    ],
)
def test_bad_arguments(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_names() -> None:
    assert words.SPLITS == ("train", "val", "test", "heldout", "shifted")
    with pytest.raises(IndexError, match="no sample 5"):
        World(n=5)[5]
