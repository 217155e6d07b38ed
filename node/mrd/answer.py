"""The susceptibility map as MRD images, for a client that waits for it on the connection that brought the scan."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from db import artefacts, runs, series
from db.errors import NotInRecord
from db.series import JOURNEY, State
from dicom_io.geometry import Geometry
from dicom_io.kspace.mrd_images import image_messages
from node.convert import to_ppb
from node.journey.assembled import inputs_of
from node.journey.mapped import MAPS
from node.kspace_convert import geometry_of_images
from node.raw_scans import read_raw_scan
from node.services import Services

RESEARCH = "FOR RESEARCH USE ONLY"


@dataclass(frozen=True)
class Answer:
    """Messages that hold the map, or a sentence that says why there are none."""

    images: tuple[bytes, ...] = field(default=(), repr=False)
    sentence: str = ""


def wait_for_images(services: Services, series_key: str, limit_s: float, goes_on: Callable[[], bool]) -> Answer:
    """Wait until a series is mapped and return its map.

    Parameters
    ----------
    services
        The node.
    series_key
        The series.
    limit_s
        How long to wait [s].
    goes_on
        Waits a little, and says whether anybody still wants the answer.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with services.database.read() as session:
            current = series.get(session, series_key)
            state, sentence = State(current.state), current.sentence
        if state in JOURNEY and JOURNEY.index(state) >= JOURNEY.index(State.MAPPED):
            return Answer(tuple(_images(services, series_key)))
        if state in series.ENDS:
            return Answer(sentence=sentence or f"The scan was {state}; the node's record says why.")
        if not goes_on():
            return Answer()
    return Answer(sentence="The map is not ready yet; it goes to the archive when it is.")


def _images(services: Services, series_key: str) -> list[bytes]:
    with services.database.read() as session:
        current = series.get(session, series_key)
        digest = artefacts.digest_of(session, series_key, current.revision, MAPS)
        facts = runs.get(session, series_key, current.revision).acquisition
        rows = inputs_of(session, current)
    if not rows:
        raise NotInRecord(f"The record holds no instances of series {series_key}.")
    held = read_raw_scan(services.kspace, services.inbox.path(rows[0].inbox_name))
    geometry: Geometry = geometry_of_images(held.scan, "", facts["shape"])
    values = np.rint(np.clip(to_ppb(services.workspace.get(digest).arrays["susceptibility"]), -32768, 32767))
    comment = [RESEARCH] if services.settings.output.research_use_only else []
    described = {
        "DataRole": "Quantitative",
        "ImageProcessingHistory": ["Lodestone", "QSM"],
        "SequenceDescriptionAdditional": "QSM",
        "ImageComments": ["susceptibility in ppb", *comment],
        "WindowCenter": "0",
        "WindowWidth": "400",
        "Unit": "ppb",
    }
    return image_messages(values.astype(np.int16), geometry, described)
