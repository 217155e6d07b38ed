"""What made an object stands in it, in characters that every character set holds."""

from dataclasses import replace

from dicom_io.series import SourceSeries
from dicom_io.write.provenance import (
    RESEARCH_SENTENCE,
    RunDescription,
    contributing_equipment,
    derivation_description,
    plain_text,
)


def test_text_is_spelled_in_ascii_and_cut_to_its_length() -> None:
    assert plain_text("−1 ± 2 µT–π Müller", 64) == "-1 +/- 2 uT-pi Muller"
    assert plain_text("abcdef", 5) == "ab..."
    assert plain_text("日本", 64) == "??"
    assert plain_text("the network’s map, 60° ≥ 45°", 64) == "the network's map, 60 degrees >= 45 degrees"


def test_a_backslash_is_not_taken_for_two_values() -> None:
    assert "\\" not in plain_text(r"C:\recipes", 64)


def test_the_derivation_names_software_recipe_inputs_echoes_and_reference(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    text = derivation_description(simulated, run_description)
    stated = ("Lodestone 0.1.0 (revision 1234abc)", "a" * 64, "b" * 64, "4, 8, 12 ms at 3 T", "whole brain mean")
    for words in stated:
        assert words in text
    assert RESEARCH_SENTENCE in text
    assert "clipped" not in text


def test_the_research_sentence_disappears_only_when_the_site_says_so(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    cleared = replace(run_description, research_use_only=False)
    assert RESEARCH_SENTENCE not in derivation_description(simulated, cleared)


def test_a_long_method_sentence_costs_no_fact(simulated: SourceSeries, run_description: RunDescription) -> None:
    text = derivation_description(simulated, replace(run_description, method_sentence="long " * 500), clipped_voxels=17)
    assert len(text) == 1024
    assert "17 voxels were clipped" in text
    assert "b" * 64 in text


def test_scanner_and_node_are_both_named_with_their_role(
    philips_classic: SourceSeries, run_description: RunDescription
) -> None:
    scanner, node = contributing_equipment(philips_classic, run_description)
    assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("Philips", "Ingenia Elition X")
    assert list(scanner.SoftwareVersions) == ["5.7.1", "5.7.1.1"]
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Acquisition Equipment"
    assert node.DeviceUID == run_description.device_uid
    assert node.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"


def test_a_run_with_a_network_names_its_weights_and_whose_map_it_is(
    simulated: SourceSeries, run_description: RunDescription, learned_run: RunDescription
) -> None:
    text = derivation_description(simulated, replace(learned_run, method_sentence="long " * 500))
    assert "This is the map of the network lodestone_net." in text
    assert f"lodestone_net SHA-256 {'c' * 64}" in text
    node = contributing_equipment(simulated, learned_run)[1]
    assert "c" * 64 in node.ContributionDescription
    assert "Weights" not in contributing_equipment(simulated, run_description)[1].ContributionDescription
    assert learned_run.identity != replace(learned_run, weights=(("lodestone_net", "d" * 64),)).identity
