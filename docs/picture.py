"""Draw the picture at the top of README.md: ``python docs/picture.py`` writes docs/picture.png."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt

from vlcourse import tokenizers, zoo
from vlcourse.data import world
from vlcourse.evals import clip as clip_evals
from vlcourse.teach import show


def main() -> None:
    """Six pictures, six captions, and what the shipped CLIP makes of each pair."""
    show.style()
    model, tokenizer = clip_evals.as_clip(zoo.load("clip-toy")), tokenizers.toy()
    scenes = world.two_object_scenes(6, seed=21)
    captions = [str(caption) for caption in world.two_object_set(6, seed=21)[1]]
    size = model.config.image.image_size
    images = torch.stack([scene.render(size) for scene in scenes])
    cosine = (
        clip_evals.embed_texts(model, tokenizer, captions)
        @ clip_evals.embed_images(model, images).T
    )

    figure, axis = plt.subplots(figsize=(13, 5.2), layout="constrained")
    axis.imshow(cosine, cmap="viridis", vmin=-0.5, vmax=1)
    for j, scene in enumerate(scenes):  # each picture on top of its column, in the same axes
        axis.imshow(scene.render(160).permute(1, 2, 0), extent=(j - 0.48, j + 0.48, -0.6, -2.15))
    axis.set(xlim=(-0.5, 5.5), ylim=(5.5, -2.2), aspect="auto", xticks=[])
    axis.set_yticks(range(6), captions, fontsize=14)
    axis.spines[:].set_visible(False)
    axis.grid(False)
    for i in range(6):
        for j in range(6):
            colour = "black" if cosine[i, j] > 0.4 else "white"
            text = f"{cosine[i, j]:.2f}"
            axis.text(j, i, text, ha="center", va="center", color=colour, fontsize=14)
    file = Path(__file__).with_name("picture.png")
    figure.savefig(file, dpi=110)
    print(file)


if __name__ == "__main__":
    main()
