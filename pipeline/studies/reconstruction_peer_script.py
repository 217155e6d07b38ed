"""Reconstruct by SigPy or pygrappa, in an environment of their own: `python this.py case.npz result.npz METHOD VALUE`.

Needs nothing of this project, since those packages and this one's may not fit into one environment.
"""

import importlib
import sys
import time

import numpy as np


def main() -> None:
    """Read a case, reconstruct each echo, and write the images with the processor seconds spent."""
    source, target, method, value = sys.argv[1:5]
    with np.load(source) as stored:
        samples, sensitivities, calibration = stored["samples"], stored["sensitivities"], stored["calibration"]
    began = time.process_time()
    if method == "pygrappa":
        images = np.stack([_filled(echo, calibration, sensitivities, float(value)) for echo in samples])
    else:
        apps = importlib.import_module("sigpy.mri.app")
        app = {"sense": apps.SenseRecon, "l1_wavelet": apps.L1WaveletRecon, "total_variation": apps.TotalVariationRecon}
        images = np.stack(
            [app[method](echo, sensitivities, lamda=float(value), show_pbar=False).run() for echo in samples]
        )
    np.savez(target, images=images, seconds=time.process_time() - began)


def _filled(echo: np.ndarray, calibration: np.ndarray, sensitivities: np.ndarray, value: float) -> np.ndarray:
    """Fill some readout positions, every one by kernels of its own, and combine the coils; the rest stays zero."""
    mdgrappa = importlib.import_module("pygrappa").mdgrappa
    axes = (-2, -1)
    image = np.zeros(echo.shape[1:], dtype=np.complex64)
    hybrid, reference = (_inverse(array, (-1,)) for array in (echo, calibration))
    for x in range(STRIDE // 2, echo.shape[-1], STRIDE):
        plane = np.ascontiguousarray(hybrid[..., x])
        filled = mdgrappa(plane, np.ascontiguousarray(reference[..., x]), (5, 5), coil_axis=0, lamda=value)
        coils = _inverse(filled, axes)
        power = np.maximum((np.abs(sensitivities[..., x]) ** 2).sum(0), 1e-20)
        image[..., x] = (sensitivities[..., x].conj() * coils).sum(0) / power
    return image


def _inverse(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    shifted = np.fft.ifftshift(array, axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes).astype(np.complex64)


STRIDE = 16
"""pygrappa takes half a minute for a volume: every so many readout positions are enough to tell how right it is."""

if __name__ == "__main__":
    main()
