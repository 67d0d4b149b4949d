"""Rows from a data set of the Hugging Face hub: the one source that uses the network."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.data.sources.rows import Rows, chosen_split

HUB_TIMEOUT = 5.0  # seconds for the first question to the hub; the libraries retry for 20 or more


def hub_rows(hub_id: str, split: str | None, streaming: bool, revision: str | None) -> Rows:
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    offline = ""
    try:  # one short question first: left alone, the libraries retry for half a minute
        HfApi().dataset_info(hub_id, revision=revision, timeout=HUB_TIMEOUT)
    except OfflineModeIsEnabled:  # the reader asked for the copy in the hub's cache
        offline = "with HF_HUB_OFFLINE=1 only a copy downloaded before can be used; "
    except GatedRepoError as error:
        raise SourceError(
            f"the dataset '{hub_id}' asks for an agreement: "
            "accept it on its page, then run `hf auth login`."
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"the hub has no public dataset '{hub_id}' (and no such path exists)."
        ) from error
    except HfHubHTTPError as error:
        raise SourceError(f"the hub refused '{hub_id}': {error}") from error
    except Exception as error:  # each version of the hub's client has another kind for this
        raise SourceError(
            f"cannot reach the hub for the dataset '{hub_id}' ({error}): check the network, or set "
            "HF_HUB_OFFLINE=1 to use a copy downloaded before."
        ) from error
    part = None
    try:
        names = datasets.get_dataset_split_names(hub_id, revision=revision)
        if split is None and len(names) != 1:
            raise SourceError(
                f"'{hub_id}' has the splits {', '.join(names)}: choose one with split=."
            )
        if split not in names or names == ["train"]:
            split, part = chosen_split(dict.fromkeys(names, ()), split, f"'{hub_id}'")

        def load(name: str, **options: Any) -> Any:
            return datasets.load_dataset(hub_id, split=name, revision=revision, **options)

        data = load(str(split), streaming=streaming)
    except SourceError:
        raise
    except Exception as error:  # the library raises many kinds; each is one sentence to the reader
        first = shorten(str(error).strip() or type(error).__name__)
        raise SourceError(
            f"cannot load the dataset '{hub_id}', split {split}: {offline}{first}"
        ) from error

    def values(column: str) -> Iterable[Any]:
        return chain(*(load(name, streaming=False).unique(column) for name in names))

    name = hub_id.split("/")[1]
    return Rows(data, name, None, part=part, values=None if streaming else values)
