"""Orthanc's own web viewer as a person uses it: open a series, choose full quality, turn the wheel."""

from pathlib import Path

import numpy as np
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By

from tests.e2e.browser import save_picture
from tests.e2e.orthanc import Orthanc
from tests.waiting import eventually

_SHOWN = "cornerstone.getEnabledElement(document.getElementById('dicomImage'))"


class OrthancViewer:
    """One page of Orthanc's viewer in a browser."""

    def __init__(self, driver: Chrome, orthanc: Orthanc) -> None:
        self.driver = driver
        self.orthanc = orthanc

    def open(self, series_uid: str) -> list[str]:
        """Show a series without loss; return Orthanc's identifiers of its images in the viewer's order."""
        series = self.orthanc.call("/tools/lookup", series_uid.encode())[0]["ID"]
        self.driver.get(f"{self.orthanc.url}/web-viewer/app/viewer.html?series={series}")
        eventually(self.current_image, 30, "the first image in Orthanc's viewer")
        self.driver.find_element(By.ID, "open-toolbar").click()
        buttons = self.driver.find_elements(By.CSS_SELECTOR, ".toolbar-quality button")
        next(one for one in buttons if one.is_displayed() and one.text == "H").click()
        self.driver.find_element(By.ID, "open-toolbar").click()
        slices = self.orthanc.call(f"/web-viewer/series/{series}")["Slices"]
        return [name.rpartition("_")[0] for name in slices]

    def current_image(self) -> str | None:
        """Return Orthanc's identifier of the image that is shown, None before there is one."""
        script = "return typeof cornerstone === 'undefined' || !document.getElementById('dicomImage') ? null : "
        shown = self.driver.execute_script(f"{script} ({_SHOWN}.image || {{}}).imageId || null")
        return shown and str(shown).rpartition("_")[0]

    def turn_wheel(self, n_images: int) -> None:
        """Turn the mouse wheel by a number of images."""
        origin = ScrollOrigin.from_element(self.driver.find_element(By.ID, "dicomImage"))
        for _ in range(n_images):
            ActionChains(self.driver).scroll_from_origin(origin, 0, 100).perform()

    def pixels(self) -> np.ndarray:
        """Return the values of the shown image, `(row, column)`."""
        # The viewer unpacks into an array of twice the length.
        script = f"""
        const image = {_SHOWN}.image;
        const values = image.getPixelData().subarray(0, image.rows * image.columns);
        return [image.rows, image.columns, Array.from(values)];
        """
        rows, columns, values = self.driver.execute_script(script)
        return np.asarray(values).reshape(rows, columns)

    def grey(self, row: int, column: int) -> int:
        """Return the grey that the canvas shows at the centre of a pixel."""
        script = f"""
        const shown = {_SHOWN};
        const at = cornerstone.pixelToCanvas(shown.element, {{x: arguments[1] + 0.5, y: arguments[0] + 0.5}});
        return shown.canvas.getContext('2d').getImageData(Math.round(at.x), Math.round(at.y), 1, 1).data[0];
        """
        return int(self.driver.execute_script(script, row, column))

    def picture(self, folder: Path, name: str) -> Path:
        """Save what the browser shows as a PNG file."""
        return save_picture(self.driver, folder, name)
