"""VideoChat's exercises: the references compute what the library does; so does the capstone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlcourse import paths, tokenizers, zoo
from vlcourse.chat.perception import Perceived
from vlcourse.chat.textualise import textualised
from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.corpus.dialogues import TOY
from vlcourse.data.media import Media, sampled
from vlcourse.data.segments import Segment
from vlcourse.layers.positions import WAVES, Clock
from vlcourse.models.gmhra import GlobalMHRA
from vlcourse.models.soft_prompt import insert, insert_targets
from vlcourse.teach import capstone, yours
from vlcourse.teach.exercise import find
from vlcourse.teach.videochat.exercises import capstone as own


def test_the_lines_are_those_of_videochat_text() -> None:
    times, said = [0.0, 1.0, 2.5, 61.0], ["a ring", "a ring", "a star", "a ring"]
    ends = [*times[1:], 63.2]
    segments = tuple(Segment(*each) for each in zip(times, ends, said, strict=True))
    lines = find("videochat.textualise").reference(times, said, 63.2)
    assert lines == textualised(Perceived(63.2, (("caption", segments),)))
    assert lines[-1] == "01:01-01:03 a ring."


def test_the_sentence_is_about_the_frames_that_the_chat_takes() -> None:
    times = (0.0, 0.2, 3.0, 3.1, 5.9)
    media = Media("", torch.zeros(5, 3, 2, 2, dtype=torch.uint8), times, 7.0)
    sentence = find("videochat.timestamps").reference(times, 7.0, 4)
    assert sentence == sampled(media.uniform(4).times)


def test_the_waves_are_those_of_the_clock() -> None:
    torch.manual_seed(0)
    clock, seconds = Clock(8), torch.tensor([[0.3, 4.0], [2.2, 9.1]])
    waves = find("videochat.time_waves").reference(seconds, WAVES)
    torch.testing.assert_close(clock.out(waves), clock(seconds))


def test_the_attention_is_the_aggregators() -> None:
    torch.manual_seed(0)
    block = GlobalMHRA(12, 3, 18, 0.0)
    with torch.no_grad():
        block.attention.out.weight.normal_()
    token, frames = torch.randn(2, 1, 12), torch.randn(2, 3, 4, 12)
    shown = torch.tensor([[True, True, True], [True, False, False]])
    mine = find("videochat.global_attention").reference(block.attention, token, frames, shown)
    theirs = block._look(token, frames.flatten(1, 2), shown.repeat_interleave(4, dim=1))
    torch.testing.assert_close(mine, theirs)


def test_the_labels_are_the_collates_with_the_video_among_them() -> None:
    words = tokenizers.llama()
    turns = [("what colour is it?", "red"), ("when did it go?", "3 s")]
    batch = DialogueCollate(words, template=TOY)([{"id": "", "turns": turns, "seconds": (0.5,)}])
    asks = [words.encode(f"question: {q} answer:") for q, _ in turns]
    says = [words.encode(f"{a}.") for _, a in turns]
    given = [(ask, said[:-1]) for ask, said in zip(asks, says, strict=True)]
    read, targets = find("videochat.labels").reference([words.bos], 3, given, says[0][-1:])
    assert targets == insert_targets(batch["targets"], 3, batch["at"])[0].tolist()
    vectors, _ = insert(batch["tokens"][..., None], torch.full((1, 3, 1), -1), 1)
    assert read == vectors[0, :, 0].tolist()


@pytest.mark.skipif(
    not (paths.checkpoints_dir() / "videochat-toy" / "model.safetensors").is_file(),
    reason="videochat-toy, from which the capstone begins, does not ship yet",
)
def test_the_capstone_is_the_librarys_model_and_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(yours, "passed", {})
    run = capstone.train("videochat-capstone", find("videochat.model").reference, steps=2)
    assert run.verdict() in ("identical", "rounding"), str(run)
    capstone.keep(run)
    assert "kept as videochat-yours (2 steps; 0 of its 3" in capsys.readouterr().out
    back = zoo.load("videochat-yours").state_dict()
    assert all(torch.equal(value, back[name]) for name, value in run.model.state_dict().items())


def test_what_the_capstone_is_checked_with_leaves_nothing_out() -> None:
    """No part of the checked model is silent: each parameter changes the logits."""
    torch.manual_seed(0)
    model = own._random_model()
    frames, tokens = torch.randn(1, 3, 4, 64), torch.randint(11, (1, 5))
    given = (model, frames, torch.tensor([[0.5, 1.7, 2.9]]), tokens)
    with torch.no_grad():
        before = own.library(*given)
        silent = []
        for name, parameter in model.named_parameters():
            kept = parameter.clone()
            parameter.add_(0.5 * torch.randn_like(parameter))
            if torch.allclose(own.library(*given), before, atol=1e-6):
                silent.append(name)
            parameter.copy_(kept)
    of_tower = [name for name in silent if name.startswith("image.")]
    biases = [name for name in silent if name.endswith("k.bias")]  # softmax does not see them
    assert set(silent) == {*of_tower, *biases}
