"""Which way the axes of images point: scanners state directions for one transform or the other.

Lodestone's images are inverse Fourier transforms of k-space. Siemens transforms forwards, so that the directions in its
raw data are those of an image that is turned about the middle of every encoded axis. Three things agree on that: in the
phantom of a Skyra (VE11, `kspace_siemens_skyra_twix`) air bubbles lie on top and the ACR phantom's wedges point up only
when it is so; mrpro's pull request 833 and the readers of the Vienna MRSI group found the same beside the scanner's
images. The phase of these data grows with the field: a gradient and the field turn spins the same way, so that it must
where the forward transform is right, and the field of that phantom's bubbles shows it.
"""

from dataclasses import replace

from dicom_io.kspace.scan import RawScan

SIEMENS_NOTE = (
    "Siemens' raw data: phase that grows with the field, and axes of the forward transform, are those that a phantom's "
    "air bubbles prove on one scanner (Skyra, VE11); no image of the scanner's own confirms them for this scan."
)
_OWN = "lodestone"


def is_siemens(scan: RawScan) -> bool:
    """Say whether a Siemens scanner measured a scan."""
    return scan.header.vendor.strip().lower().startswith("siemens")


def as_images_lie(scan: RawScan) -> RawScan:
    """Return a scan as a file or stream states it with the directions along which images grow, and a note on them."""
    if is_siemens(scan):
        return replace(turned_about(scan), notes=(*scan.notes, SIEMENS_NOTE))
    vendor = scan.header.vendor.strip()
    if vendor.lower() == _OWN:
        return scan
    shown = vendor if vendor.replace(" ", "").isalnum() and len(vendor) <= 32 else "this vendor"
    note = (
        f"Sign of the phase and direction of the axes of raw data of {shown} are taken as ISMRMRD's; no public data "
        "prove them."
    )
    return replace(scan, notes=(*scan.notes, note))


def as_stated(scan: RawScan) -> RawScan:
    """Return a scan with the directions that its file or stream has to state; the reverse of `as_images_lie`."""
    return turned_about(scan) if is_siemens(scan) else scan


def turned_about(scan: RawScan) -> RawScan:
    """Return a scan whose directions along every encoded axis point the other way; slices one by one keep theirs."""
    heads = scan.heads.copy()
    names = ("read_dir", "phase_dir", "slice_dir") if scan.header.encoded.shape[0] > 1 else ("read_dir", "phase_dir")
    for name in names:
        # From 0, so that no zero becomes a negative one.
        heads[name] = 0 - heads[name]
    return replace(scan, heads=heads)
