"""All claims are tested in one go, with the sizes that are asked for."""

from pathlib import Path

import pytest

from pipeline.simulation.scanner import Protocol
from pipeline.studies import claims_refinement, claims_slabs
from pipeline.studies.cases import ECHO_TIMES_S
from pipeline.studies.claims import ClaimSizes, claims

pytestmark = pytest.mark.usefixtures("one_thread")

COARSE = Protocol((42, 54, 44), (3.6, 3.6, 3.6), ECHO_TIMES_S, snr=80.0, finest_mm=1.8)
TINY = ClaimSizes(size=16, n_k_qsm=1, n_patches=1, n_refined=1, n_fine=0, n_heads=1, scan=COARSE)


def test_every_claim_has_its_tables_and_progress_ends_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_slabs, "CLASSICAL", ("tkd",))
    monkeypatch.setattr(claims_refinement, "CLASSICAL_STARTS", ())
    told: list[float] = []
    tables = claims(tmp_path, TINY, told.append)
    titles = " / ".join(table.title for table in tables)
    for word in ("k-QSM", "xQSM", "DF-QSM on every", "DLL2 and FINE", "removed, then cut", "cut, then removed"):
        assert word in titles
    assert "training heads" not in titles
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
