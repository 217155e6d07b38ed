"""Was a series meant to become a map at all? What was not is ignored on purpose, which is no failure.

Reports, raw data, scouts, diffusion and spin echoes travel in every study; the radiographer who sent the whole study
has made no mistake. Magnitude without phase, a missing slice or a filtered phase is a mistake, and stays refused.
"""

from collections import Counter
from collections.abc import Sequence

from dicom_io.errors import NoPhaseInProtocol, PhaseMissing, UnsupportedObject
from dicom_io.read.headers import FrameHeader
from dicom_io.read.protocol import FILTER_WORDS
from dicom_io.series import Part
from node.errors import IgnoredByRule, NoRuleMatches

SCOUT_WORDS = {"LOCALIZER", "SCOUT", "SURVEY"}
# A scout has few slices in each of its directions; a second acquisition in another direction has many.
MOST_SCOUT_SLICES = 20
UNRELATED = {
    UnsupportedObject: "it holds no MR images",
    NoPhaseInProtocol: "its protocol never makes a phase of the field",
    IgnoredByRule: "a rule says so",
    NoRuleMatches: "no rule wants it",
}
NO_MISTAKE = (UnsupportedObject, NoPhaseInProtocol)
ON_PURPOSE = "Ignored on purpose"


def why_ignored(error: Exception, frames: Sequence[FrameHeader], image_type: Sequence[str], has_rules: bool) -> str:
    """Return why a series that cannot be mapped is none that should have been; empty where it should.

    Parameters
    ----------
    error
        Why it cannot be mapped.
    frames
        Its readable frame headers.
    image_type
        The words of its ImageType.
    has_rules
        Whether the site has rules; without any, nothing can be wanted, and that is the site's mistake.
    """
    if isinstance(error, NoRuleMatches) and not has_rules:
        return ""
    for kind, reason in UNRELATED.items():
        if isinstance(error, kind):
            # What was never meant to be mapped needs no remedy, which follows the first semicolon of a refusal.
            told = str(error).partition("; ")[0].rstrip(".") + "." if isinstance(error, NO_MISTAKE) else str(error)
            return f"{ON_PURPOSE}, because {reason}. {told}"
    if is_scout(frames, image_type):
        return f"{ON_PURPOSE}, because it is a scout (localiser): magnitude images that only serve to plan others."
    if isinstance(error, PhaseMissing) and is_product(frames, image_type):
        return (
            f"{ON_PURPOSE}, because the scanner made it of other images (by susceptibility weighting, projection or a "
            "fit): a susceptibility map is made of the magnitude and phase behind it."
        )
    return ""


def is_product(frames: Sequence[FrameHeader], image_type: Sequence[str]) -> bool:
    """Tell whether a series is what the scanner made of others: none of its images is a part of a complex image."""
    kind = [word.upper() for word in image_type]
    is_made = kind[:1] == ["DERIVED"] or bool(set(kind) & FILTER_WORDS)
    return is_made and bool(frames) and all(frame.part is Part.UNKNOWN for frame in frames)


def is_scout(frames: Sequence[FrameHeader], image_type: Sequence[str]) -> bool:
    """Tell whether a series only serves to plan others: it says so, or is a few magnitude images in many directions."""
    if not frames or any(frame.part not in (Part.MAGNITUDE, Part.UNKNOWN) for frame in frames):
        return False
    if {word.upper() for word in image_type} & SCOUT_WORDS:
        return True
    slices = Counter(tuple(round(number, 1) + 0.0 for number in frame.orientation) for frame in frames)
    return len(slices) > 1 and max(slices.values()) <= MOST_SCOUT_SLICES
