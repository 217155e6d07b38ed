"""What a run says about itself, in the words in which its objects and pages describe it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from dicom_io.write.identity import derived_uid
from dicom_io.write.provenance import RunDescription
from pipeline.maps import CLASSICAL
from pipeline.method import LEARNED_MAP_USED
from pipeline.methods import STEPS
from pipeline.recipe import Recipe
from pipeline.reconstruction.table import find_reconstruction

CLASSICAL_INVERSION = next(iter(STEPS["dipole_inversion"].values()))
"""The method of the map that stands for a network's where a check fails; it is as smooth as the network's start."""


def describe_run(
    recipe: Recipe,
    quality: Mapping[str, Any],
    software: Mapping[str, str],
    input_digest: str,
    reference: str,
    node_ae_title: str,
    performed_at: datetime,
    research_use_only: bool,
    map_by: str = "",
    reconstruction: str = "",
) -> RunDescription:
    """Return a run in the words in which its objects describe it; `quality` is what `Quality.as_dict` gives.

    `map_by` tells a further map of a series from its first. `reconstruction` names the method that made the images of
    k-space; empty where they came as images.
    """
    weights = quality.get("weights", {})
    identity = [software["lodestone"], software["code_revision"], node_ae_title, *weights.values()]
    return RunDescription(
        software_version=software["lodestone"],
        code_revision=software["code_revision"],
        recipe_name=recipe.name,
        recipe_digest=recipe.digest,
        method_sentence=reconstruction_sentence(reconstruction)
        + method_sentence(recipe, is_classical=is_fallback(quality)),
        reference=reference,
        input_digest=input_digest,
        device_uid=derived_uid("device", *identity),
        node_ae_title=node_ae_title,
        performed_at=performed_at,
        research_use_only=research_use_only,
        weights=tuple(sorted(weights.items())),
        map_sentence=map_sentence(quality),
        map_by=map_by,
    )


def describe_twin(recipe: Recipe, run: RunDescription) -> RunDescription:
    """Return a run in the words in which the classical map beside a network's describes it."""
    sentence = f"This is the classical map by {CLASSICAL_INVERSION.name}, kept beside the network's for comparison."
    learned, classical = method_sentence(recipe), method_sentence(recipe, is_classical=True)
    return replace(run, method_sentence=run.method_sentence.replace(learned, classical), map_sentence=sentence)


def reconstruction_sentence(method: str) -> str:
    """Name the reconstruction and its source, as the beginning of a method sentence; nothing without one."""
    return f"reconstruction from k-space by {method} ({find_reconstruction(method).citation}); " if method else ""


def with_reconstruction(quality: Mapping[str, Any], reconstruction: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of a map, with what the reconstruction found out about its images put first.

    `reconstruction` holds `findings` as plain values; None where the images came as images.
    """
    found = list((reconstruction or {}).get("findings", ()))
    warnings = [finding["sentence"] for finding in found if finding["is_warning"]]
    known = {"findings": [*found, *quality["findings"]], "warnings": [*warnings, *quality["warnings"]]}
    return {**quality, **known}


def method_sentence(recipe: Recipe, is_classical: bool = False) -> str:
    """Name the method of every step and its source, in one sentence; a classical map's instead of a network's."""
    methods = {step: recipe.method_of(step) for step in recipe.steps}
    if is_classical:
        methods = {step: CLASSICAL_INVERSION if method.learned else method for step, method in methods.items()}
    named = [
        f"{step.replace('_', ' ')} by {method.name} ({method.citation})"
        for step, method in methods.items()
        if method.name != "none"
    ]
    return "; ".join(named) + "."


def is_fallback(quality: Mapping[str, Any]) -> bool:
    """Say whether a classical map stands where the recipe wanted a network's."""
    return bool(quality.get("weights")) and quality["susceptibility_source"] == CLASSICAL


def map_sentence(quality: Mapping[str, Any]) -> str:
    """Say whether a map is a network's, and why not where it is not; nothing for a recipe without a network."""
    named = ", ".join(sorted(quality.get("weights", {})))
    if not named:
        return ""
    if not is_fallback(quality):
        return f"This map is that of the network {named}."
    reasons = " ".join(_reasons(quality))
    instead = f"This map is the classical one by {CLASSICAL_INVERSION.name}, not that of the network {named}."
    return f"{instead} {reasons}".strip()


def _reasons(quality: Mapping[str, Any]) -> list[str]:
    """Return why a network's map was not used; that it was not is said elsewhere."""
    checks = [finding for finding in quality.get("findings", ()) if LEARNED_MAP_USED not in finding["figures"]]
    return [finding["sentence"] for finding in checks if finding["is_warning"]]


def report_sentences(quality: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of a map: whose it is, the warnings, and which checks it passed."""
    checks = [finding for finding in quality.get("findings", ()) if LEARNED_MAP_USED not in finding["figures"]]
    passed = [finding["sentence"] for finding in checks if not finding["is_warning"]]
    whose = [map_sentence(quality)] if quality.get("weights") else []
    # Where the first sentence holds the reasons already, they are not said twice.
    said = _reasons(quality) if is_fallback(quality) else []
    return [*whose, *(sentence for sentence in quality.get("warnings", ()) if sentence not in said), *passed]
