"""Draw the picture at the top of README.md: ``python docs/picture.py`` writes docs/picture.png."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt

from vlcourse import evals, tokenizers, zoo
from vlcourse.data import world
from vlcourse.teach import show


def main() -> None:
    """Six pictures, six captions, and what the shipped CLIP makes of each pair."""
    show.style()
    model, tokenizer = evals.as_clip(zoo.load("clip-toy")), tokenizers.toy()
    scenes = world.two_object_scenes(6, seed=21)
    captions = [str(caption) for caption in world.two_object_set(6, seed=21)[1]]
    size = model.config.image.image_size
    images = torch.stack([scene.render(size) for scene in scenes])
    cosine = evals.embed_texts(model, tokenizer, captions) @ evals.embed_images(model, images).T

    figure = plt.figure(figsize=(13, 6.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 3.2))
    for axis, scene in zip(top.subplots(1, 9)[3:], scenes, strict=True):
        axis.imshow(scene.render(160).permute(1, 2, 0))
    for axis in top.axes:
        axis.axis("off")
    axis = bottom.subplots(1, 3, width_ratios=(3, 6, 0.01))
    axis[0].axis("off")
    axis[2].axis("off")
    axis[1].imshow(cosine, cmap="viridis", vmin=-0.2, vmax=1, aspect="auto")
    axis[1].set_yticks(range(6), captions, fontsize=13)
    axis[1].set_xticks([])
    axis[1].grid(False)
    for i in range(6):
        for j in range(6):
            colour = "black" if cosine[i, j] > 0.5 else "white"
            text = f"{cosine[i, j]:.2f}"
            axis[1].text(j, i, text, ha="center", va="center", color=colour, fontsize=13)
    file = Path(__file__).with_name("picture.png")
    figure.savefig(file, dpi=110)
    print(file)


if __name__ == "__main__":
    main()
