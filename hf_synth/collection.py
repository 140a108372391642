"""Linking what belongs together on the Hub: a data set, its report and its model, in one collection."""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import Collection, HfApi
from huggingface_hub.errors import HfHubHTTPError

from .errors import InputError
from .retries import patiently

REPORT = "hf_synth/report.html"  # in the repo of a data set
NOTE = "Report: "
SLUG = re.compile(r"[\w.-]+/[\w.-]+-[0-9a-f]{24}")


def collect(
    collection: str, repo_id: str, *, repo_type: str = "dataset", private: bool = False, token: str | None = None
) -> str:
    """Link a repo in a collection, once, with a note that leads to its report where it holds one.

    Args:
        collection: The title of a collection under the user's name, created when absent; or the slug of any that the
            token may write to, `user/title-0123456789abcdef01234567`.
        repo_id: `user/name`, or `name` for a repo of the token's owner.
        repo_type: `dataset` or `model`.
        private: Create the collection private.
        token: Token that may write; by default that of `hf auth login` or HF_TOKEN.

    Returns:
        The address of the collection.

    Raises:
        InputError: If the Hub refuses it.
    """
    api = HfApi(token=token)
    try:
        user = patiently(api.whoami)["name"]
        repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"
        found = _find(api, collection, user, private)
        _link(api, found, repo_id, repo_type)
    except HfHubHTTPError as error:
        if error.response.status_code >= 500 or error.response.status_code == 429:
            raise
        reason = error.server_message or error.response.status_code
        raise InputError(f"The Hub does not put {repo_id!r} into the collection {collection!r}: {reason}") from None
    return found.url


def _find(api: HfApi, collection: str, user: str, private: bool) -> Collection:
    if not SLUG.fullmatch(collection):
        mine = patiently(lambda: list(api.list_collections(owner=user)))
        slug = next((one.slug for one in mine if one.title == collection), None)
        if slug is None:
            wanted: Any = {"namespace": user, "private": private, "exists_ok": True}
            return patiently(lambda: api.create_collection(collection, **wanted))
        collection = slug
    return patiently(lambda: api.get_collection(collection))  # a list shows the first items alone


def _link(api: HfApi, collection: Collection, repo_id: str, repo_type: str) -> None:
    page = f"{api.endpoint}/{'datasets/' if repo_type == 'dataset' else ''}{repo_id}"
    reported = patiently(lambda: api.file_exists(repo_id, REPORT, repo_type=repo_type))
    note = f"{NOTE}{page}/blob/main/{REPORT}" if reported else None
    item = next((one for one in collection.items if (one.item_type, one.item_id) == (repo_type, repo_id)), None)
    if item is None:
        kind: Any = repo_type
        patiently(lambda: api.add_collection_item(collection.slug, repo_id, kind, note=note, exists_ok=True))
    elif note and note != item.note and (item.note or NOTE).startswith(NOTE):  # a person's own note stays
        patiently(lambda: api.update_collection_item(collection.slug, item.item_object_id, note=note))
