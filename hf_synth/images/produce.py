"""From settings to the folder of texts beside images: checked, resumable, and told of in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..config import checked
from ..errors import InputError
from ..home import claim
from ..journal import Journal
from ..marks import stays
from ..models import Source
from ..produce import DECIDING
from ..settings import StudentConfig
from .captioner import Captioner, find_captioner
from .chain import REFUSED, Link, Maker, chained, fills_only, written
from .folder import PROVENANCE, records, write_image_folder
from .judge import judge, reasons, select, teachers_task
from .painter import Painter, find_pipeline, pipeline_class
from .settings import IllustrateConfig
from .source import Original, read_original
from .store import Store

# What is made does not depend on these, so one folder's images can be selected from anew.
SELECTING = ("select", "policy", "duplicate_bits", "folds", "teacher", "teacher_args")


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        config: See `IllustrateConfig`.
        original: The rows.
        image_model: The pipeline that was found, if one was named.
        captioner: The captioner that was found, if one was named.
        student: How teachers are trained.
    """

    config: IllustrateConfig
    original: Original
    image_model: Source | None
    captioner: Source | None
    student: StudentConfig

    @classmethod
    def of(cls, config: IllustrateConfig) -> Request:
        """Read what the settings name, before any model is loaded.

        Raises:
            InputError: Naming what is wrong with it.
        """
        told = {**config.teacher_args, "student": config.teacher}
        student = checked(StudentConfig, told, "`teacher_args`")
        original = read_original(config, tuple(PROVENANCE))
        if config.select is not None:
            teachers_task(original)
        _check_work(config, original)
        captioner = (
            find_captioner(config.captioner, config.caption_prompt, config.caption_tokens)
            if config.captioner
            else None
        )
        image_model = find_pipeline(config.image_model) if config.image_model else None
        return cls(config, original, image_model, captioner, student)

    def settings(self) -> dict[str, Any]:
        """Return every setting that decides a row."""
        told = asdict(self.config)
        for name in ("dataset", "max_rows", "license", "output_dir", "hub_id", "private"):
            told.pop(name)
        for name, source in (("image_model", self.image_model), ("captioner", self.captioner)):
            told[name] = source and source.name
        return told

    def painter(self) -> Painter | None:
        """Return what makes images, if anything."""
        told, size = self.config, self.config.size
        calling: dict[str, Any] = {"num_inference_steps": told.steps, "guidance_scale": told.guidance}
        calling |= {"height": size, "width": size}
        return Painter(self.image_model, told.dtype, **calling) if self.image_model else None

    def writer(self) -> Captioner | None:
        """Return what writes captions, if anything."""
        told, found = self.config, self.captioner
        return Captioner(found, told.caption_prompt, told.top_p, told.caption_tokens) if found else None


def _check_work(config: IllustrateConfig, original: Original) -> None:
    """Refuse a data set in which the models that were named find nothing to do."""
    texts = [text is not None for text in original.texts]
    blank = sum(has and not image for has, image in zip(texts, original.pictured, strict=True))
    mute = sum(image and not has for has, image in zip(texts, original.pictured, strict=True))
    captions, images = bool(config.captioner) and mute > 0, bool(config.image_model) and blank > 0
    if fills_only(config) and not captions and not images:
        found = f"{blank} rows have a text and no image, {mute} an image and no text"
        given = "image_model" if config.image_model and not config.captioner else "captioner"
        given = "image_model` and `captioner" if config.image_model and config.captioner else given
        raise InputError(f"nothing to make in {config.dataset!r} with the `{given}` alone: {found}")
    if not fills_only(config) and not any(texts) and not captions:
        raise InputError(f"no row of {config.dataset!r} has a text or an image that a chain can start at")


def produce_images(request: Request, folder: Path) -> dict[str, Any]:
    """Make what is asked for and write `folder/dataset`; what was recorded there before is not made again.

    Returns:
        The facts that the card states.

    Raises:
        InputError: For a folder that holds something else, or models that refuse their settings.
    """
    config, original = request.config, request.original
    painter, captioner = request.painter(), request.writer()
    weights = {name: one.settings() for name, one in (("painter", painter), ("writer", captioner)) if one}
    making = {name: value for name, value in request.settings().items() if name not in SELECTING}
    record = claim(folder, {**making, **weights, "rows": original.digest})
    store = Store(folder / "journal" / "images")
    maker = Maker(config, painter, captioner, store)
    try:
        filled = written(original, maker)
        texts = [text if text is not None else filled.get(row) for row, text in enumerate(original.texts)]
        links = chained(original, texts, maker)
    except InputError:  # the user may mend the settings and try again here
        record.unlink()
        raise
    teachers = judge(original, links, config, request.student, Journal(folder / "journal")) if config.select else None
    hops = select(original, links, store, config) if teachers else []
    return _written(request, folder, painter, store, texts, links, {"teachers": teachers, "hops": hops})


def _written(
    request: Request,
    folder: Path,
    painter: Painter | None,
    store: Store,
    texts: Sequence[str | None],
    links: Sequence[Link],
    judged: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the data set's folder and return its facts."""
    config, original = request.config, request.original
    kept = [link for link in links if not link.dropped]
    models = {"image_model": _name(request.image_model), "caption_model": _name(request.captioner)}
    added = list(records(original, texts, kept, fills_only(config), models))
    if not added:
        raise InputError(f"no row is left of {len(links)} images: {dict(reasons(links))}")
    filled = sum(one is None and text is not None for one, text in zip(original.texts, texts, strict=True))
    facts = {
        **_known(request),
        "made": {"images": len(kept), "texts": filled},
        "counts": _counts(original, texts, added, links),
        "cut": painter.cut([config.image_prompt.replace("{text}", link.text) for link in links]) if painter else 0,
        **judged,
        "precision": painter and painter.dtype,
    }
    return write_image_folder(folder / "dataset", original, added, links, facts, store)


def _name(source: Source | None) -> str | None:
    return source.name if source else None


def _known(request: Request) -> dict[str, Any]:
    """Return what is known before anything is made."""
    packages = [*DECIDING, *(["diffusers"] if request.image_model else []), "pillow"]
    image_model, behind = request.image_model, stays(request.config.dataset, request.config.private)
    kind = image_model and {
        "pipeline": pipeline_class(Path(image_model.path), image_model.name),
        **image_model.facts(),
    }
    return {
        "name": request.original.name,
        "license": request.config.license,
        "image_model": kind,
        "captioner": request.captioner and request.captioner.facts(),
        "settings": request.settings(),
        "fills": fills_only(request.config),
        "versions": {name: version(name) for name in packages},
        **({"private": behind} if behind else {}),
    }


def _counts(
    original: Original, texts: Sequence[str | None], added: Sequence[Mapping[str, Any]], links: Sequence[Link]
) -> dict[str, Any]:
    """Return what was there, what was asked for and what became of it; asked is kept and dropped."""
    dropped = reasons(links)
    return {
        "rows": len(texts),
        "given_texts": sum(text is not None for text in original.texts),
        "given_images": sum(original.pictured),
        "asked": len(links),
        "kept": len(links) - sum(dropped.values()),
        "dropped": dict(dropped),
        "captions": sum(link.caption is not None for link in links),
        "uncaptioned": sum(link.caption is None and link.dropped != REFUSED for link in links),
        "without_text": sum(one["text"] is None for one in added),
        "without_image": sum(one["image_from"] is None for one in added),
        "rows_left_out": len(texts) - len({one["source_row"] for one in added}),
    }


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """Return what a user is told when it is done."""
    made, counts = facts["made"], facts["counts"]
    told = [f"{facts['rows']} rows: {made['images']} images made, {made['texts']} missing texts written"]
    told += [f"dropped {count}: {reason}" for reason, count in counts["dropped"].items()]
    told += [
        f"hop {one['hop']}: {one['kept']} of {one['images']} kept, mean score {one['score']}" for one in facts["hops"]
    ]
    for name in ("image", "text"):
        if counts[f"without_{name}"]:
            told.append(f"{counts[f'without_{name}']} rows have no {name}")
    if counts["rows_left_out"]:
        told.append(f"{counts['rows_left_out']} rows of the data set have no image here")
    if facts["cut"]:
        told.append(f"{facts['cut']} texts are longer than the image model reads; their ends are lost")
    return told
