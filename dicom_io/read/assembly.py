"""Decide whether frames form one acquisition that may become a map; refuse, in this order, whatever would mislead.

The order matters: a folder of two acquisitions is called mixed before either is called incomplete, and a protocol that
can never give phase is called that before its missing phase is complained of.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_io import errors
from dicom_io.geometry import Geometry
from dicom_io.instance import named, naming
from dicom_io.read.consistency import difference_between, interpolation_note, require_consistent
from dicom_io.read.grid import grid_of
from dicom_io.read.headers import FrameHeader
from dicom_io.read.pixels import Pixels, digest
from dicom_io.read.sorting import COMPLEX_PAIRS, USABLE, Slot, Slots, arrange, describe_missing, parts_of
from dicom_io.read.vendors.convention import Vendor
from dicom_io.read.vendors.table import vendor_named
from dicom_io.series import Part

GAMMA_MHZ_PER_T = 42.577478518
SAME = 2e-3
CORRECTED = True, True
REMEDY = {
    "NoPhaseInProtocol": "route it elsewhere; susceptibility needs a gradient echo with phase",
    "FilteredPhase": "export the original, unfiltered and uncorrected phase",
    "ContradictoryHeader": "ask the sender for the original headers",
}


@dataclass(frozen=True)
class Instance:
    """One image object: where it is, what to call it in a sentence, its frames, and its pixels if they are plain."""

    path: Path
    name: str
    frames: tuple[FrameHeader, ...]
    pixels: Pixels | None = None


@dataclass(frozen=True)
class Assembly:
    """One acquisition whose every slot holds exactly one frame.

    `spare` are the frames of the other two parts of a complex image, where the scanner sent these as well.
    """

    vendor: Vendor
    parts: tuple[Part, Part]
    slots: Slots
    chosen: Mapping[Slot, FrameHeader]
    geometry: Geometry
    magnetic_field_strength_t: float
    path_of: Mapping[str, Path]
    name_of: Mapping[str, str]
    notes: tuple[str, ...]
    pixels_of: Mapping[str, Pixels]
    spare: tuple[FrameHeader, ...]


def assemble(instances: Sequence[Instance]) -> Assembly:
    """Turn the frames of some objects into one acquisition.

    Raises
    ------
    dicom_io.errors.Permanent
        One class per reason, with a sentence that names file, attribute and remedy.
    """
    notes: list[str] = []
    unique = _without_copies(instances, notes)
    names = {instance.frames[0].sop_instance_uid: instance.name for instance in unique}
    paths = {instance.frames[0].sop_instance_uid: instance.path for instance in unique}
    frames = _as_measured([frame for instance in unique for frame in instance.frames], notes)
    vendor = _vendor(frames, names)
    _require_one_acquisition(frames, names)
    _refuse_objection("NoPhaseInProtocol", frames, names)
    _refuse_objection("ContradictoryHeader", frames, names)
    parts = _complex_pair(frames, vendor)
    used = [frame for frame in frames if frame.part in parts]
    notes += _left_out(frames, parts)
    _require_quantitative(used, names)
    notes += [note for note in (_magnitude_note(used), interpolation_note(used), vendor.caveat) if note]
    _require_echo_times(used, names)
    _require_rescaling(used, names)
    slots = arrange(used)
    chosen = _choose(slots, names, paths, notes)
    _require_complete(slots, vendor, [frame for frame in frames if frame.part is Part.UNKNOWN], names)
    require_consistent(chosen, names)
    field, field_notes = _field_strength(used, names)
    geometry = grid_of(slots, chosen, parts[0])
    pixels = {instance.frames[0].sop_instance_uid: instance.pixels for instance in unique if instance.pixels}
    all_notes = (*notes, *field_notes)
    spare = tuple(frame for frame in frames if frame.part in USABLE and frame.part not in parts)
    return Assembly(vendor, parts, slots, chosen, geometry, field, paths, names, all_notes, pixels, spare)


def _without_copies(instances: Sequence[Instance], notes: list[str]) -> list[Instance]:
    kept: dict[str, Instance] = {}
    copies = 0
    for instance in sorted(instances, key=lambda item: (item.frames[0].sop_instance_uid, item.name)):
        uid = instance.frames[0].sop_instance_uid
        first = kept.setdefault(uid, instance)
        if first is instance:
            continue
        if first.frames != instance.frames or not _same_pixels(first, instance):
            raise errors.ContradictoryHeader(
                f"{first.name} and {instance.name} carry the same {named('SOPInstanceUID')} but differ; "
                "keep the one that the scanner sent."
            )
        copies += 1
    if copies:
        notes.append(f"{copies} identical {'copy was' if copies == 1 else 'copies were'} ignored.")
    return list(kept.values())


def _as_measured(frames: Sequence[FrameHeader], notes: list[str]) -> list[FrameHeader]:
    """Leave out images that the scanner corrected where it sent the same image as measured (DC/ND, NORM of Siemens)."""
    if len({_corrections(frame) for frame in frames}) == 1:
        return list(frames)
    best: dict[tuple[object, ...], tuple[bool, bool]] = {}
    for frame in frames:
        best[_place(frame)] = min(best.get(_place(frame), CORRECTED), _corrections(frame))
    kept = [frame for frame in frames if _corrections(frame) == best[_place(frame)]]
    if len({(frame.part, _corrections(frame)) for frame in kept}) > len({frame.part for frame in kept}):
        # Some were sent in one form only: together they would be no image of one intensity, and are judged as they are.
        return list(frames)
    if len(kept) < len(frames):
        notes.append(
            f"{len(frames) - len(kept)} images that the scanner corrected for distortion or intensity were left aside, "
            "because it sent them as measured, too."
        )
    return kept


def _place(frame: FrameHeader) -> tuple[object, ...]:
    return frame.part, frame.echo_time_ms, tuple(round(number, 2) for number in frame.position)


def _corrections(frame: FrameHeader) -> tuple[bool, bool]:
    return frame.is_distortion_corrected, frame.is_intensity_corrected


def _same_pixels(first: Instance, second: Instance) -> bool:
    found = []
    for instance in (first, second):
        with naming(instance.name):
            found.append(digest(instance.path))
    return found[0] == found[1]


def _vendor(frames: Sequence[FrameHeader], names: Mapping[str, str]) -> Vendor:
    vendors = [_known_vendor(frame, names) for frame in frames]
    _require_same(frames, lambda frame: frame.vendor, "Manufacturer", names)
    return vendors[0]


def _known_vendor(frame: FrameHeader, names: Mapping[str, str]) -> Vendor:
    vendor = vendor_named(frame.vendor)
    if vendor is None:
        raise errors.UnknownVendor(
            f"{names[frame.sop_instance_uid]}: {named('Manufacturer')} is empty or none of those whose phase "
            "convention is known; send images of Siemens, Philips, GE, United Imaging or Canon with intact headers."
        )
    return vendor


def _require_same(
    frames: Sequence[FrameHeader], value: Callable[[FrameHeader], object], keyword: str, names: Mapping[str, str]
) -> None:
    if len({value(frame) for frame in frames}) > 1:
        usual = Counter(value(frame) for frame in frames).most_common(1)[0][0]
        odd = next(frame for frame in frames if value(frame) != usual)
        raise errors.MixedSeries(_odd_one(odd, keyword, names))


def _require_close(
    frames: Sequence[FrameHeader],
    value: Callable[[FrameHeader], tuple[float, ...]],
    keyword: str,
    names: Mapping[str, str],
) -> None:
    rows = np.array([value(frame) for frame in frames])
    differs = np.abs(rows - np.median(rows, axis=0)).max(axis=1) > SAME
    if differs.any():
        raise errors.MixedSeries(_odd_one(frames[int(np.argmax(differs))], keyword, names))


def _odd_one(odd: FrameHeader, keyword: str, names: Mapping[str, str]) -> str:
    return (
        f"{names[odd.sop_instance_uid]} differs from most other images in {named(keyword)}: more than one acquisition "
        "is mixed here; send one at a time."
    )


def _require_one_acquisition(frames: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    sameness: tuple[tuple[str, Callable[[FrameHeader], object]], ...] = (
        ("StudyInstanceUID", lambda frame: frame.study_instance_uid),
        ("FrameOfReferenceUID", lambda frame: frame.frame_of_reference_uid),
        ("Rows", lambda frame: frame.rows),
        ("Columns", lambda frame: frame.columns),
        ("MagneticFieldStrength", lambda frame: frame.magnetic_field_strength_t),
    )
    for keyword, value in sameness:
        _require_same(frames, value, keyword, names)
    _require_close(frames, lambda frame: frame.pixel_spacing, "PixelSpacing", names)
    _require_close(frames, lambda frame: frame.orientation, "ImageOrientationPatient", names)
    sources: dict[tuple[Part, float | None], str] = {}
    for frame in frames:
        block = (frame.part, frame.echo_time_ms)
        first = sources.setdefault(block, frame.series_instance_uid)
        if first != frame.series_instance_uid:
            raise errors.MixedSeries(
                f"{names[frame.sop_instance_uid]}: two values of {named('SeriesInstanceUID')} hold {frame.part} images "
                f"of the same echo, so two acquisitions are mixed here; send one at a time."
            )


def _refuse_objection(refusal: str, frames: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for frame in frames:
        for objection in frame.objections:
            if objection.refusal == refusal:
                raise getattr(errors, refusal)(
                    f"{names[frame.sop_instance_uid]} is {objection.sentence}; {REMEDY[refusal]}."
                )


def _complex_pair(frames: Sequence[FrameHeader], vendor: Vendor) -> tuple[Part, Part]:
    present = set(parts_of(frames))
    # GE writes no phase unit, so its real and imaginary images, which need none, are the better witnesses.
    order = COMPLEX_PAIRS[::-1] if vendor.name == "GE" else COMPLEX_PAIRS
    for pair in order:
        if present >= set(pair):
            for better in order[: order.index(pair)]:
                _require_no_nameless_half(frames, better)
            return pair
    if Part.PHASE_DIFFERENCE in present:
        raise errors.PhaseDifference(
            "The phase images are the difference of two echoes (a field-map sequence), not the phase of each echo; "
            "send a multi-echo gradient echo with phase."
        )
    if Part.FIELD_MAP in present:
        raise errors.FieldMapNotPhase(
            "The images hold a field map in hertz, made by the scanner, not a wrapped phase; "
            "send the magnitude and phase of every echo."
        )
    if Part.PHASE in present:
        raise errors.MagnitudeMissing(
            "Only phase images arrived; send the magnitude images of the same acquisition as well."
        )
    if present & {Part.REAL, Part.IMAGINARY}:
        raise errors.IncompleteSeries("Only one of real and imaginary images arrived; send both.")
    raise errors.PhaseMissing(
        "Only magnitude images arrived, or images that name no part; switch on phase (or real and imaginary) "
        "reconstruction in the protocol and send those images as well."
    )


def _require_no_nameless_half(frames: Sequence[FrameHeader], pair: tuple[Part, Part]) -> None:
    """Refuse a better pair of which one half is there, and the other may be images that lost the name of their part."""
    counts = Counter(frame.part for frame in frames)
    there, lost = sorted(pair, key=lambda part: -counts[part])
    if counts[there] and not counts[lost] and counts[Part.UNKNOWN] >= counts[there]:
        raise errors.IncompleteSeries(
            f"There are {there} images but no {lost} ones, and {counts[Part.UNKNOWN]} images that do not say which "
            "part they are; ask the sender for intact headers."
        )


def _left_out(frames: Sequence[FrameHeader], parts: tuple[Part, Part]) -> list[str]:
    others = Counter(frame.part for frame in frames if frame.part not in parts)
    notes = [
        f"{count} {part} {'image was' if count == 1 else 'images were'} not needed."
        for part, count in sorted(others.items())
        if part is not Part.UNKNOWN
    ]
    return notes + ([f"{_nameless(others[Part.UNKNOWN])} left aside."] if others[Part.UNKNOWN] else [])


def _nameless(count: int) -> str:
    say, were = ("image does", "was") if count == 1 else ("images do", "were")
    return f"{count} {say} not say which part of the complex image they are, or were made of several, and {were}"


def _require_quantitative(used: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for frame in used:
        if frame.is_lossy and frame.part is not Part.MAGNITUDE:
            raise errors.LossyPhase(
                f"{names[frame.sop_instance_uid]}: the {frame.part} image was compressed with loss "
                f"({named('LossyImageCompression')} or its transfer syntax says so); send the uncompressed original."
            )
    _refuse_objection("FilteredPhase", used, names)


def _magnitude_note(used: Sequence[FrameHeader]) -> str:
    magnitude = [frame for frame in used if frame.part is Part.MAGNITUDE]
    if any(frame.is_lossy for frame in magnitude):
        return "The magnitude was compressed with loss; it only weights the phase."
    if any(frame.is_distortion_corrected for frame in magnitude):
        return (
            "The magnitude is corrected for distortion, the phase is not; away from the isocentre they may not match."
        )
    return ""


def _require_echo_times(used: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for frame in used:
        if frame.echo_time_ms is None:
            raise errors.MissingAttribute(
                f"{names[frame.sop_instance_uid]}: {named('EchoTime')} is absent; ask the sender for complete headers."
            )
        if not 0.05 < frame.echo_time_ms < 200:
            raise errors.ContradictoryHeader(
                f"{names[frame.sop_instance_uid]}: {named('EchoTime')} is {frame.echo_time_ms:g} ms, which no gradient "
                "echo has; ask the sender for intact headers."
            )


def _require_rescaling(used: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for part in parts_of(used):
        frames = [frame for frame in used if frame.part is part and part is not Part.PHASE]
        without = [frame for frame in frames if frame.values.slope is None]
        if without and len(without) < len(frames):
            raise errors.MissingAttribute(
                f"{names[without[0].sop_instance_uid]}: {named('RescaleSlope')} is absent, though other {part} images "
                "have it, so they cannot be compared; ask the sender for complete headers."
            )
    scaled = [frame for frame in used if frame.part is not Part.PHASE]
    ungained = [frame for frame in scaled if not frame.values.gain]
    if ungained and len(ungained) < len(scaled):
        raise errors.MissingAttribute(
            f"{names[ungained[0].sop_instance_uid]}: the manufacturer's own scale of stored values is absent, though "
            "other images have it, so they cannot be compared; ask the sender for complete headers."
        )


def _choose(
    slots: Slots, names: Mapping[str, str], paths: Mapping[str, Path], notes: list[str]
) -> dict[Slot, FrameHeader]:
    chosen, copies = {}, 0
    for slot, held in slots.frames.items():
        _require_one_echo(held, names)
        ordered = sorted(held, key=lambda frame: (frame.sop_instance_uid, frame.frame_number or 0))
        chosen[slot] = ordered[0]
        for other in ordered[1:]:
            if not _is_same_image(ordered[0], other, names, paths):
                raise errors.MixedSeries(_collision(slot, ordered[0], other, names))
            copies += 1
    if copies:
        notes.append(f"{copies} images with other UIDs but the same pixels were ignored.")
    return chosen


def _require_one_echo(held: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    for frame in held[1:]:
        if frame.echo_number and held[0].echo_number and frame.echo_number != held[0].echo_number:
            raise errors.ContradictoryHeader(
                f"{names[held[0].sop_instance_uid]} and {names[frame.sop_instance_uid]} have the same "
                f"{named('EchoTime')} but different {named('EchoNumbers')}; ask the sender for intact headers."
            )


def _is_same_image(
    first: FrameHeader, second: FrameHeader, names: Mapping[str, str], paths: Mapping[str, Path]
) -> bool:
    if first.frame_number is not None or second.frame_number is not None:
        return False
    return _same_pixels(
        *(Instance(paths[uid], names[uid], ()) for uid in (first.sop_instance_uid, second.sop_instance_uid))
    )


def _collision(slot: Slot, first: FrameHeader, second: FrameHeader, names: Mapping[str, str]) -> str:
    part, echo, index = slot
    both = f"{names[first.sop_instance_uid]} and {names[second.sop_instance_uid]}"
    if first.sop_instance_uid == second.sop_instance_uid:
        both = f"{names[first.sop_instance_uid]}, frames {first.frame_number} and {second.frame_number},"
    reason = difference_between(first, second)
    return f"{both} are both the {part} of echo {echo + 1}, slice {index + 1}: {reason}; send one at a time."


def _require_complete(slots: Slots, vendor: Vendor, nameless: Sequence[FrameHeader], names: Mapping[str, str]) -> None:
    phase_echoes = {echo for part, echo, _ in slots.frames if part is Part.PHASE}
    if vendor.name == "Siemens" and len(slots.echo_times_ms) == 2 and phase_echoes == {1}:
        raise errors.PhaseDifference(
            "There are magnitude images of two echoes but phase images of the second only, which is how Siemens stores "
            "the difference of the two phases; send a multi-echo gradient echo with the phase of every echo."
        )
    missing = describe_missing(slots)
    if slots.surplus and vendor.counts_are_exact:
        raise errors.MixedSeries(
            f"There are {slots.surplus} than the protocol declares: more than one acquisition is mixed here; "
            "send one at a time."
        )
    if missing:
        lost = f" {names[nameless[0].sop_instance_uid]} does not say which part it is." if nameless else ""
        raise errors.IncompleteSeries(
            f"Incomplete: {'; '.join(missing)}.{lost} Send the missing images, or the whole series again."
        )


def _field_strength(used: Sequence[FrameHeader], names: Mapping[str, str]) -> tuple[float, list[str]]:
    stated, frequency = used[0].magnetic_field_strength_t, used[0].frequency_mhz
    name = names[used[0].sop_instance_uid]
    if stated is None and frequency is None:
        raise errors.MissingAttribute(
            f"{name}: {named('MagneticFieldStrength')} and {named('ImagingFrequency')} are absent, so hertz cannot "
            "become parts per million; ask the sender for complete headers."
        )
    measured = frequency / GAMMA_MHZ_PER_T if frequency else None
    if stated is None and measured is not None:
        return measured, [f"The field strength, {measured:.4f} T, is that of {named('ImagingFrequency')}."]
    if not stated or not 0.2 <= stated <= 15:
        raise errors.ContradictoryHeader(
            f"{name}: {named('MagneticFieldStrength')} is {stated:g}, which is no scanner's field in tesla; "
            "ask the sender for intact headers."
        )
    if measured is None or abs(measured / stated - 1) < 0.005:
        return stated, []
    if abs(measured / stated - 1) > 0.1:
        raise errors.ContradictoryHeader(
            f"{name}: {named('MagneticFieldStrength')} is {stated:g} T but {named('ImagingFrequency')} means "
            f"{measured:.3f} T for hydrogen; ask the sender for intact headers."
        )
    # Siemens rounds 2.89 T up to 3 T, which would scale every susceptibility by 3.5 %.
    return measured, [f"{named('ImagingFrequency')} means {measured:.4f} T, which was used instead of {stated:g} T."]
