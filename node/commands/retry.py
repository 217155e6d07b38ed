"""`lodestone retry`: let a series that has ended travel once more."""

from contextlib import closing
from pathlib import Path

import db.provenance
from node.app import build_services_from_file
from node.commands.console import out, print_json
from node.errors import UnknownSeries
from node.journey.received import retry


def retry_series(text: str, config: Path, as_json: bool) -> None:
    """Enqueue a series again; the running node, or the next one, takes it up.

    Raises
    ------
    UnknownSeries
        `text` names no series.
    """
    with closing(build_services_from_file(config)) as services:
        with services.database.read() as session:
            found = db.provenance.find_series(session, text)
        if not found:
            raise UnknownSeries(f"The record holds no series {text!r}; `lodestone list` shows all.")
        ended = {series.key: f"{series.state}. {series.sentence}".strip() for series in found}
        for key in ended:
            retry(services, key)
    keys = list(ended)
    if as_json:
        print_json({"retried": keys})
    else:
        for key, end in ended.items():
            out.print(f"{key} was {end}")
        out.print(f"{', '.join(keys)} will be mapped once more; `lodestone list -c {config}` shows how it goes.")
