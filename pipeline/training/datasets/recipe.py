"""What a stream of training volumes is made of: shapes, generators, geometry, noise and faults."""

from dataclasses import dataclass, replace

from pipeline.errors import InvalidRecipe

TRAINING_SHARES = (
    ("shapes", 0.14),
    ("anatomy", 0.26),
    ("texture", 0.08),
    ("vessels", 0.10),
    ("leaves", 0.12),
    ("levels", 0.10),
    ("laminae", 0.08),
    ("facets", 0.06),
    ("scatter", 0.06),
)
HELD_OUT = ("composite",)
"""Generators that no network ever trains on."""

MODES = ("individual", "cropped")
PURPOSES = ("training", "validation")


@dataclass(frozen=True)
class DataRecipe:
    """The distribution that samples are drawn from.

    Attributes
    ----------
    shape
        Shape `(z, y, x)` of a sample.
    generators
        Names of generators with their shares.
    purpose
        "training" refuses held-out generators; "validation" draws other samples for the same seed.
    mode
        "individual": a patch is the whole world and its field that of the patch alone; "cropped": the field is that of
        a larger object, of which the patch is cut (Zhu's two ways to train xQSM).
    mixed_share
        Share of samples made of two generators' volumes: their sum, or one in a region of the other.
    negated_share
        Share of samples whose susceptibility changes its sign.
    finest_mm
        Bounds of the least edge of a voxel [mm].
    aspect_max
        Largest ratio of two edges of a voxel.
    tilt_max_deg
        Largest angle between B0 and the first axis [degree].
    axial_share
        Share of samples with B0 along the first axis exactly.
    noise_ppb
        Bounds of the median noise of the field [ppb].
    residual_background_ppb
        Bounds of the root mean square of the harmonic field that background removal left [ppb].
    residual_background_share
        Share of samples that have such a residue.
    mask_error_voxels
        Largest error of the mask's surface [voxel].
    mask_error_share
        Share of samples whose mask is wrong.
    outlier_share
        Share of samples with wrong field values where the signal is nearly gone.
    orientations
        1: the label is the truth; 3 or more: the label is COSMOS of noisy fields at that many orientations.
    """

    shape: tuple[int, int, int] = (64, 64, 64)
    generators: tuple[tuple[str, float], ...] = TRAINING_SHARES
    purpose: str = "training"
    mode: str = "individual"
    mixed_share: float = 0.3
    negated_share: float = 0.3
    finest_mm: tuple[float, float] = (0.6, 2.2)
    aspect_max: float = 3.0
    tilt_max_deg: float = 60.0
    axial_share: float = 0.3
    noise_ppb: tuple[float, float] = (0.5, 10.0)
    residual_background_ppb: tuple[float, float] = (1.0, 20.0)
    residual_background_share: float = 0.6
    mask_error_voxels: float = 2.0
    mask_error_share: float = 0.6
    outlier_share: float = 0.2
    orientations: int = 1

    def __post_init__(self) -> None:
        held_out = [name for name, _ in self.generators if name in HELD_OUT]
        if self.purpose == "training" and held_out:
            raise InvalidRecipe(f"The generator '{held_out[0]}' is held out; it may be used for validation only.")
        if self.purpose not in PURPOSES or self.mode not in MODES:
            raise InvalidRecipe(f"Purpose and mode are {PURPOSES} and {MODES}, not '{self.purpose}', '{self.mode}'.")
        if min(self.shape) < 16 or self.orientations < 1 or self.orientations == 2:
            raise InvalidRecipe("A sample has at least 16 voxels along each axis, and 1 orientation or 3 and more.")
        if self.aspect_max < 1 or not 0 <= self.tilt_max_deg <= 90 or not 0 < self.noise_ppb[0] <= self.noise_ppb[1]:
            raise InvalidRecipe("The aspect is at least 1, the tilt 0 to 90 degrees, and noise positive and ascending.")

    def held_out(self) -> "DataRecipe":
        """Return the recipe with the held-out generators in place of the training ones, for validation."""
        return replace(self, purpose="validation", generators=tuple((name, 1.0) for name in HELD_OUT))
