import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from node.log import LibraryHandler, configure, place_of


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure(stream)
    yield stream
    logging.captureWarnings(False)
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, LibraryHandler)]:
        root.removeHandler(handler)
    structlog.reset_defaults()


def written(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_time_and_level(lines: io.StringIO) -> None:
    structlog.get_logger().info("series.mapped", series_key="s-1", seconds=3.5)
    (line,) = written(lines)
    assert (line["event"], line["level"], line["series_key"], line["seconds"]) == ("series.mapped", "info", "s-1", 3.5)
    assert line["timestamp"].endswith("Z")


def test_a_key_that_is_not_on_the_list_is_dropped_and_named(lines: io.StringIO) -> None:
    structlog.get_logger().info("series.received", PatientName="Doe^Jane", series_key="s-1")
    assert "Doe" not in lines.getvalue()
    assert written(lines)[0]["dropped_keys"] == ["PatientName"]


def test_what_a_library_says_about_received_data_is_not_repeated(lines: io.StringIO) -> None:
    logging.getLogger("pydicom").warning("Invalid value for VR PN: 'Doe^Jane'")
    (line,) = written(lines)
    assert "Doe" not in lines.getvalue()
    assert (line["event"], line["logger"]) == ("library.reported", "pydicom")


def test_a_warning_about_received_data_is_not_repeated_either(lines: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("Invalid value for VR PN: 'Doe^Jane'", UserWarning, stacklevel=1)
    assert "Doe" not in lines.getvalue()


def test_the_engine_may_say_why_it_failed(lines: io.StringIO) -> None:
    logging.getLogger("dbos").error("workflow map-s-1-r1 failed")
    assert written(lines)[0]["reason"] == "workflow map-s-1-r1 failed"


def test_configuring_twice_does_not_write_twice(lines: io.StringIO) -> None:
    configure(lines)
    logging.getLogger("sqlalchemy").warning("x")
    assert len(written(lines)) == 1


def test_the_place_of_an_error_is_a_module_and_a_line() -> None:
    with pytest.raises(ValueError) as caught:
        int("x")
    assert place_of(caught.value).startswith("tests.node.test_log:")
    assert place_of(ValueError()) == "unknown"
