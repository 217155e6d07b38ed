"""The viewer OHIF for the tests: its ready-built pages and Orthanc's DICOMweb behind one address on loopback.

One origin spares the browser every cross-origin rule. Pages that are no file are the viewer's own routes and get its
index page; the two isolation headers let it share memory between its threads, as its makers ask.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import INSTALL_HINT, REPOSITORY
from tests.e2e.orthanc import Orthanc
from tests.waiting import eventually

OHIF_FOLDER = REPOSITORY / "tests" / "peers" / "ohif" / "dist"
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


def require_ohif() -> Path:
    """Return the folder of OHIF's pages; skip with a hint where it is missing, fail where peers are required."""
    if (OHIF_FOLDER / "index.html").exists():
        return OHIF_FOLDER
    message = f"The viewer OHIF is not installed: {INSTALL_HINT}."
    if os.environ.get("LODESTONE_REQUIRE_PEERS"):
        pytest.fail(message)
    return pytest.skip(message)


def viewer_settings() -> str:
    """Return the script with which OHIF is told of its only archive."""
    archive = {
        "friendlyName": "The test's archive",
        "name": "archive",
        **dict.fromkeys(("wadoUriRoot", "qidoRoot", "wadoRoot"), "/dicom-web"),
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
    }
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "archive",
        "configuration": archive,
    }
    settings = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "strictZSpacingForVolumeViewport": True,
        # The question whether the viewer may be used for diagnosis would lie over every screenshot.
        "investigationalUseDialog": {"option": "never"},
        # So would the question whether a measurement is to be kept for a report.
        "measurementTrackingMode": "none",
        "defaultDataSourceName": "archive",
        "dataSources": [source],
    }
    # Without this the viewer explains itself to a newcomer, over the images.
    toured = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']));"
    return f"{toured} window.config = {json.dumps(settings)};"


def application(pages: Path, orthanc: Orthanc) -> Starlette:
    """Return the web application: OHIF's files, its settings, and Orthanc's DICOMweb under `/dicom-web`."""
    # Orthanc closes connections that it kept; one that is reused in that moment would lose the browser's request.
    limits = httpx.Limits(max_keepalive_connections=0, max_connections=16)
    client = httpx.AsyncClient(base_url=orthanc.url, timeout=60, limits=limits)

    @contextlib.asynccontextmanager
    async def with_client(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def dicomweb(request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        # Orthanc answers with addresses that must lead back through this door.
        headers += [("forwarded", f"host={request.url.netloc};proto=http"), ("host", request.url.netloc)]
        target = httpx.URL(path=request.url.path, query=request.url.query.encode())
        asked = client.build_request(request.method, target, headers=headers, content=await request.body())
        answer = await client.send(asked, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
        return StreamingResponse(_body(answer), answer.status_code, {**kept, **ISOLATION})

    def settings(_: Request) -> Response:
        return Response(viewer_settings(), media_type="text/javascript", headers=ISOLATION)

    def page(request: Request) -> Response:
        asked = (pages / request.path_params["path"]).resolve()
        found = asked if asked.is_file() and asked.is_relative_to(pages) else pages / "index.html"
        return FileResponse(found, headers=ISOLATION)

    return Starlette(
        lifespan=with_client,
        routes=[
            Route("/dicom-web/{path:path}", dicomweb, methods=["GET", "POST"]),
            Route("/app-config.js", settings),
            Route("/{path:path}", page),
        ],
    )


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for block in answer.aiter_raw():
            yield block
    finally:
        await answer.aclose()


@contextlib.contextmanager
def running_ohif(orthanc: Orthanc) -> Iterator[str]:
    """Serve OHIF on a free port until the block ends; yield its address."""
    served = application(require_ohif(), orthanc)
    configuration = uvicorn.Config(served, log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(configuration)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([door],), daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started, 20, "the start of OHIF's server")
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)
