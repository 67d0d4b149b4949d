"""The page of ``vlcourse chat``: a film or a picture, a question, and two models that answer.

What the visitors look at and say is in :class:`Visits`; here it meets Gradio's components.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from vlcourse.chat import ChatError, strip
from vlcourse.chat.asking import asked
from vlcourse.chat.examples import EXAMPLES
from vlcourse.chat.protocol import Turn
from vlcourse.chat.talk import Cast, Talk, choices, first_two
from vlcourse.chat.visits import Visits

SIDES = ("left", "right")
NOBODY = ("nobody", "")
NOTHING = "choose something to talk about first: an example, or a file of your own"
HEAD = """<h1>Talk about a film or a picture</h1><p>The models know the course's toy world; of
anything else they show how far that goes. Nothing leaves this machine, and no file is kept.</p>"""


class Desk:
    """What the page's buttons do.

    Args:
        visits: who is there.
        cast: who can be asked.
    """

    def __init__(self, visits: Visits, cast: Cast) -> None:
        self.visits, self.cast = visits, cast
        self.example = cache(lambda name: EXAMPLES[name].shown())

    def choose(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """An example → what is shown of it, no notice, and questions to ask."""
        media, questions, film = self.example(name)
        self.visits.of(_session(request)).begin(Talk(media, self.cast))
        return strip.timeline(media, film), "", _suggested(questions), gr.skip()

    def upload(self, path: str | None, request: gr.Request) -> tuple[Any, ...]:
        """A file → the same; or what is wrong with it, and what was there before stays."""
        try:
            if path is None:
                raise ChatError("no file came: upload it again")
            media = self.visits.bring(_session(request), Path(path), self.cast)
        except ChatError as error:
            return gr.skip(), strip.notice(str(error)), gr.skip(), gr.skip()
        return strip.timeline(media, strip.playable(media)), "", _suggested(()), None

    def ask(self, question: str, request: gr.Request) -> tuple[str, Any, str]:
        """The question for both sides, an empty line for the next, and a notice."""
        try:
            words = asked(question or "")
            if self.visits.of(_session(request)).talk is None:
                raise ChatError(NOTHING)
        except ChatError as error:
            return "", gr.skip(), strip.notice(str(error))
        return words, "", ""

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.visits.close(_session(request))


class Side:
    """One half of the page, where one model answers.

    Args:
        name: which half.
        visits: who is there.
    """

    def __init__(self, name: str, visits: Visits) -> None:
        self.name, self.visits = name, visits

    def look(self, talker: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """What a talker sees, and its talk so far."""
        visit = self.visits.of(_session(request))
        talk, visit.asks[self.name] = visit.talk, talker
        if talk is None or not talker:
            yield "", []
            return
        before = messages(talk.turns.get((self.name, talker), ()))
        yield strip.notice("looking …", "busy"), before
        try:
            seen = strip.account(talk.media, talk.account(talker))
        except ChatError as error:
            seen = strip.notice(str(error))
        if visit.looks_at(talk, self.name, talker):
            yield seen, gr.skip()  # it may have been asked meanwhile: its answer stands there

    def forget(self, talker: str, request: gr.Request) -> None:
        """The talk with a talker begins anew."""
        if (talk := self.visits.of(_session(request)).talk) is not None:
            talk.turns.pop((self.name, talker), None)

    def answer(self, question: str, talker: str, request: gr.Request) -> Iterator[tuple[Any, str]]:
        """A talk with the answer as it grows, and a notice where there is none."""
        visit = self.visits.of(_session(request))
        talk, visit.asks[self.name] = visit.talk, talker
        if not question or not talker:
            yield gr.skip(), ""
            return
        if talk is None:
            yield [], strip.notice(NOTHING)
            return
        before = messages(talk.turns.get((self.name, talker), ()))
        yield [*before, *messages([Turn(question, "…")])], ""
        try:
            for text in talk.answer((self.name, talker), question):
                if not visit.looks_at(talk, self.name, talker):
                    return
                yield [*before, *messages([Turn(question, text)])], ""
        except ChatError as error:
            yield before, strip.notice(str(error))


def only_files(button: gr.UploadButton) -> None:
    """Take files as they lie: no address is fetched, nothing copied, no empty file left beside.

    Gradio's own ways are replaced on this one button. (It writes a stub of types beside the source
    of whoever makes a class of it.)
    """

    async def in_place(path: Any) -> str | None:
        if path is not None and "://" in str(path):
            raise gr.Error("upload a file; an address is not fetched")
        return path

    def where(payload: Any) -> str | None:
        return None if payload is None else payload.path

    button.async_move_resource_to_block_cache = in_place  # type: ignore[method-assign, assignment]
    button.preprocess = where  # type: ignore[method-assign]


def messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Turns as Gradio's chat shows them, which takes every text for HTML."""
    return [
        {"role": role, "content": escape(text, quote=False)}
        for turn in turns
        for role, text in (("user", turn.question), ("assistant", turn.answer))
    ]


def build(visits: Visits, cast: Cast) -> gr.Blocks:
    """The page, not yet served.

    Raises:
        ChatError: when no model that talks is there.
    """
    desk, begin = Desk(visits, cast), first_two()
    with gr.Blocks(
        title="vlcourse chat", analytics_enabled=False, fill_width=True, delete_cache=(60, 3600)
    ) as page:
        gr.HTML(HEAD, elem_id="head")
        with gr.Row(elem_id="choose"):
            example = gr.Dropdown(
                list(EXAMPLES), value=next(iter(EXAMPLES)), show_label=False, container=False,
                scale=3, elem_id="example",
            )  # fmt: skip
            file = gr.UploadButton(
                "or a file of your own", file_types=["image", "video"], scale=1, elem_id="upload"
            )
            only_files(file)
        shown = gr.HTML(elem_id="shown")
        with gr.Row(elem_id="sides"):
            sides = [_side(side, who) for side, who in zip(SIDES, begin, strict=True)]
        said = gr.HTML(elem_id="said", padding=False)
        with gr.Row(elem_id="ask"):
            question = gr.Textbox(
                placeholder="Ask both …", show_label=False, container=False, scale=8,
                max_length=4000, elem_id="question",
            )  # fmt: skip
            button = gr.Button("Ask", variant="primary", scale=1, elem_id="send")
        words = gr.Textbox(visible="hidden", elem_id="words")
        chips = gr.Dataset(
            components=[gr.Textbox(visible=False)], samples=[[""]], type="values", visible=False,
            show_label=False, elem_id="chips",
        )  # fmt: skip
        _wire(page, desk, example, file, question, button, words, chips, shown, said, sides)
    return page.queue(default_concurrency_limit=2, max_size=64)


def _side(side: str, who: str) -> tuple[Any, ...]:
    """One model: its name, what it saw, its talk, and a place for what it refuses."""
    with gr.Column(elem_id=side, elem_classes="side"):
        talker = gr.Dropdown(
            [*choices(), NOBODY], value=who, show_label=False, container=False,
            elem_id=f"{side}-talker",
        )  # fmt: skip
        seen = gr.HTML(elem_id=f"{side}-account", elem_classes="saw", padding=False)
        chat = gr.Chatbot(
            height=172, show_label=False, render_markdown=False, latex_delimiters=[], buttons=[],
            feedback_options=None, elem_id=f"{side}-chat",
        )  # fmt: skip
        refused = gr.HTML(elem_id=f"{side}-refused")
    return talker, chat, refused, seen


def _wire(
    page: gr.Blocks, desk: Desk, example: Any, file: Any, question: Any, button: Any, words: Any,
    chips: Any, shown: Any, said: Any, sides: Sequence[tuple[Any, ...]],
) -> None:  # fmt: skip
    """Which event does what. The models work for two visitors at a time, whoever they are."""
    models: dict[str, Any] = {"concurrency_id": "models", "concurrency_limit": 2}
    outputs = [shown, said, chips, example]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    begun = [
        page.load(desk.choose, example, outputs, api_name="begin", **hidden),
        example.input(desk.choose, example, outputs, api_name="choose", show_progress="minimal"),
        file.upload(desk.upload, file, outputs, api_name="upload", show_progress="minimal"),
    ]
    sent = gr.on(
        [button.click, question.submit], desk.ask, question, [words, question, said],
        show_progress="hidden", api_name="ask",
    )  # fmt: skip
    for name, (talker, chat, refused, seen) in zip(SIDES, sides, strict=True):
        side = Side(name, desk.visits)
        for event in begun:
            event.then(side.look, talker, [seen, chat], **hidden, **models)
        talker.input(
            side.look,
            talker,
            [seen, chat],
            api_name=f"look_{name}",
            show_progress="hidden",
            **models,
        )
        sent.then(
            side.answer, [words, talker], [chat, refused], api_name=name,
            show_progress="hidden", **models,
        )  # fmt: skip
        chat.clear(side.forget, talker, **hidden)
    chips.click(lambda sample: sample[0], chips, question, **hidden)
    page.unload(desk.leave)


def _suggested(questions: Sequence[str]) -> Any:
    return gr.Dataset(samples=[[question] for question in questions], visible=bool(questions))


def _session(request: gr.Request) -> str:
    return str(request.session_hash)
