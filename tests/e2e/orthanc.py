"""A real Orthanc for the tests: started on free ports in a temporary folder, spoken to over REST and DICOM."""

import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import INSTALL_HINT
from tests.waiting import eventually, free_port, is_listening

DICOMWEB = "libOrthancDicomWeb.so"
WEB_VIEWER = "libOrthancWebViewer.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


class Orthanc:
    """One running Orthanc."""

    def __init__(self, ae_title: str, dicom_port: int, http_port: int) -> None:
        self.ae_title = ae_title
        self.dicom_port = dicom_port
        self.http_port = http_port

    def call(self, path: str, body: bytes | dict | None = None) -> object:
        """GET `path`, or POST `body` to it; return the answer's JSON."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=content)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def file(self, instance: str) -> bytes:
        """Return the DICOM file of an instance as Orthanc keeps it."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http_port}/instances/{instance}/file", timeout=60
        ) as answer:
            return answer.read()

    def upload(self, paths: list[Path]) -> list[str]:
        """Put files into Orthanc; return its identifiers of the instances."""
        return [self.call("/instances", path.read_bytes())["ID"] for path in paths]

    def send(self, instances: list[str], modality: str) -> None:
        """Let Orthanc send instances by C-STORE to a configured modality."""
        self.call(f"/modalities/{modality}/store", {"Resources": instances, "Synchronous": True, "Timeout": 60})

    def put_modality(self, name: str, ae_title: str, port: int) -> None:
        """Tell Orthanc where a DICOM peer on this machine listens."""
        body = json.dumps({"AET": ae_title, "Host": "127.0.0.1", "Port": port}).encode()
        url = f"http://127.0.0.1:{self.http_port}/modalities/{name}"
        urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=60).close()

    @property
    def url(self) -> str:
        """Return the address of Orthanc's REST interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Return the address of Orthanc's DICOMweb services, where it runs with that plugin."""
        return f"{self.url}/dicom-web"

    def instances(self, sop_class_uid: str) -> list[str]:
        """Return Orthanc's identifiers of all instances of one SOP class."""
        query = {"Level": "Instance", "Query": {"SOPClassUID": sop_class_uid}}
        return self.call("/tools/find", query)


def require_plugin(name: str) -> str:
    """Return the path of a plugin of Orthanc; skip with a hint where it is missing, fail where peers are required."""
    found = [folder for folder in _PLUGIN_FOLDERS if (Path(folder) / name).exists()]
    if found:
        return str(Path(found[0]) / name)
    message = f"Orthanc's plugin {name} is not installed: {INSTALL_HINT}."
    if os.environ.get("LODESTONE_REQUIRE_PEERS"):
        pytest.fail(message)
    return pytest.skip(message)


@contextlib.contextmanager
def running_orthanc(
    folder: Path,
    program: str,
    ae_title: str,
    plugins: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
) -> Iterator[Orthanc]:
    """Start Orthanc with its storage in `folder`; stop it and wait for its end on leaving.

    `plugins` are file names such as `DICOMWEB`; `settings` are put over those below.
    """
    folder.mkdir(parents=True, exist_ok=True)
    orthanc = Orthanc(ae_title, free_port(), free_port())
    configuration = {
        "Name": ae_title,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": orthanc.http_port,
        "DicomPort": orthanc.dicom_port,
        "DicomAet": ae_title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalitiesInDatabase": True,
        "OverwriteInstances": False,
        "Plugins": [require_plugin(name) for name in plugins],
        "DicomWeb": {"Enable": DICOMWEB in plugins, "Root": "/dicom-web/"},
        **(settings or {}),
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
    try:
        eventually(lambda: is_listening(orthanc.http_port) and is_listening(orthanc.dicom_port), 30, "Orthanc's start")
        yield orthanc
    finally:
        process.terminate()
        process.wait(timeout=30)
