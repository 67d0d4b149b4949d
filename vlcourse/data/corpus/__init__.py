"""Text about the toy world, for language models: made on demand, split by composition."""

from __future__ import annotations

from vlcourse.data.corpus.corpus import DOCUMENT_KINDS as DOCUMENT_KINDS
from vlcourse.data.corpus.corpus import HARD as HARD
from vlcourse.data.corpus.corpus import HARD_KINDS as HARD_KINDS
from vlcourse.data.corpus.corpus import NO_LESSONS as NO_LESSONS
from vlcourse.data.corpus.corpus import SUBTOPICS as SUBTOPICS
from vlcourse.data.corpus.corpus import Corpus as Corpus
from vlcourse.data.corpus.corpus import ask as ask
from vlcourse.data.corpus.corpus import check_documents as check_documents
from vlcourse.data.corpus.corpus import reading as reading
from vlcourse.data.corpus.corpus import sentences as sentences
from vlcourse.data.corpus.corpus import topic as topic
