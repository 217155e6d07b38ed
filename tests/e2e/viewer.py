"""OHIF as a person uses it: open a study, turn to a place in the patient, read the number under the cursor."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.browser import save_picture
from tests.e2e.viewer_objects import Place
from tests.waiting import eventually

# A software renderer on a busy machine takes its time; on an idle one nothing takes more than ten seconds.
PATIENCE_S = 120
PAPER = 240
# What the page's scripts have in common: the viewport the person looks at, and the slice through a place.
_VIEWPORT = """
const grid = window.services.viewportGridService;
const viewport = window.services.cornerstoneViewportService.getCornerstoneViewport(grid.getActiveViewportId());
const plane = id => window.cornerstone.metaData.get('imagePlaneModule', id);
const distance = (id, place) => {
  const {imagePositionPatient: origin, rowCosines: row, columnCosines: column} = plane(id);
  const normal = [row[1] * column[2] - row[2] * column[1], row[2] * column[0] - row[0] * column[2],
                  row[0] * column[1] - row[1] * column[0]];
  return Math.abs(normal.reduce((sum, n, axis) => sum + n * (place[axis] - origin[axis]), 0));
};
const done = arguments[arguments.length - 1];
"""


class Viewer:
    """One page of OHIF in a browser."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def ask(self, script: str, *arguments: object) -> object:
        """Run a script that knows `viewport` and ends by calling `done`; return what it was given."""
        return self.driver.execute_async_script(_VIEWPORT + script, *arguments)

    def open(self, study_uid: str, mode: str = "viewer") -> None:
        """Open a study and wait until its first image is drawn."""
        self.driver.get(f"{self.url}/{mode}?StudyInstanceUIDs={study_uid}")
        eventually(self._shows_an_image, PATIENCE_S, "OHIF's first image")

    def _shows_an_image(self) -> bool:
        script = "return !!(window.services && window.cornerstone)"
        if not self.driver.execute_script(script):
            return False
        return bool(self.ask("done(!!(viewport && viewport.getCornerstoneImage && viewport.getCornerstoneImage()))"))

    def show(self, series: Dataset) -> None:
        """Put a series into the viewport by a double click on its thumbnail."""
        self.open_thumbnail(series)
        eventually(lambda: series.SeriesInstanceUID in str(self.current_image()), PATIENCE_S, "the series' first image")

    def open_thumbnail(self, series: Dataset) -> None:
        """Double-click the thumbnail of a series; what then happens depends on what it is."""
        name = f"the thumbnail of series {series.SeriesNumber}"
        thumbnail = eventually(lambda: self._thumbnail(series), PATIENCE_S, name)
        # On a busy machine two clicks of a steered mouse can be too far apart to be one double click.
        script = "arguments[0].dispatchEvent(new MouseEvent('dblclick', {bubbles: true, cancelable: true, detail: 2}))"
        self.driver.execute_script(script, thumbnail)

    def _thumbnail(self, series: Dataset) -> WebElement | None:
        script = """
        const sets = window.services.displaySetService.getActiveDisplaySets();
        const found = sets.find(one => one.SeriesInstanceUID === arguments[0]);
        return found && document.getElementById('thumbnail-' + found.displaySetInstanceUID);
        """
        return self.driver.execute_script(script, series.SeriesInstanceUID)

    def current_image(self) -> str | None:
        """Return cornerstone's name of the image that is shown; it holds its UIDs."""
        return self.ask("done(viewport && viewport.getCurrentImageId ? viewport.getCurrentImageId() : null)")

    def turn_to(self, place: Place) -> None:
        """Show the slice nearest to a place in the patient (LPS) [mm], found by the viewer's own geometry."""
        nearest = """
        const ids = viewport.getImageIds();
        const place = arguments[0];
        const best = ids.reduce((kept, id, at) => distance(id, place) < distance(ids[kept], place) ? at : kept, 0);
        Promise.resolve(viewport.setImageIdIndex(best)).then(() => { viewport.render(); done(ids[best]); });
        """
        eventually(self._shows_an_image, PATIENCE_S, "an image to turn from")
        wanted = self.ask(nearest, list(place))
        eventually(lambda: self.current_image() == wanted, PATIENCE_S, "the slice through the place")

    def value_at(self, place: Place) -> float:
        """Return the shown slice's value at a place [mm], by the grid on which the viewer's tools measure."""
        script = """
        const {imageData, dimensions} = viewport.getImageData();
        const [column, row] = window.cornerstone.utilities.transformWorldToIndex(imageData, arguments[0]);
        done(viewport.getCornerstoneImage().getPixelData()[row * dimensions[0] + column]);
        """
        return float(self.ask(script, list(place)))

    def pixels(self) -> list[list[int]]:
        """Return all values of the shown slice, row by row."""
        script = """
        const image = viewport.getCornerstoneImage();
        const values = Array.from(image.getPixelData());
        done(Array.from({length: image.height}, (_, row) => values.slice(row * image.width, (row + 1) * image.width)));
        """
        return self.ask(script)

    def places_of(self, value: float) -> list[Place]:
        """Turn to every voxel of the series that holds `value`, and return where the viewer's tools say it is [mm]."""
        script = """
        const wanted = arguments[0];
        const look = async (id, at) => {
          const image = await window.cornerstone.imageLoader.loadAndCacheImage(id);
          const voxels = Array.from(image.getPixelData(), (value, voxel) => value === wanted ? voxel : -1);
          return voxels.filter(voxel => voxel >= 0).map(voxel => [at, voxel % image.width, voxel / image.width | 0]);
        };
        const turn = async ([at, column, row]) => {
          await viewport.setImageIdIndex(at);
          const {imageData} = viewport.getImageData();
          return window.cornerstone.utilities.transformIndexToWorld(imageData, [column, row, 0]);
        };
        (async () => {
          const found = (await Promise.all(viewport.getImageIds().map(look))).flat();
          const places = [];
          for (const voxel of found) places.push(Array.from(await turn(voxel)));
          viewport.render();
          done(places);
        })();
        """
        return [(x, y, z) for x, y, z in self.ask(script, value)]

    def grey_at(self, place: Place) -> list[int]:
        """Return red, green and blue that the canvas shows at a place [mm]."""
        script = """
        const at = viewport.worldToCanvas(arguments[0]);
        const canvas = viewport.getCanvas();
        const scale = canvas.width / canvas.clientWidth;
        const copy = document.createElement('canvas');
        copy.width = canvas.width; copy.height = canvas.height;
        const context = copy.getContext('2d');
        context.drawImage(canvas, 0, 0);
        done(Array.from(context.getImageData(Math.round(at[0] * scale), Math.round(at[1] * scale), 1, 1).data));
        """
        return self.ask(script, list(place))[:3]

    def choose_tool(self, name: str) -> None:
        """Let the left mouse button hold a tool."""
        script = "window.commandsManager.runCommand('setToolActiveToolbar', {toolName: arguments[0]}); done()"
        self.ask(script, name)

    def canvas_at(self, place: Place) -> tuple[int, int]:
        """Return where on the page a place [mm] is shown."""
        script = """
        const at = viewport.worldToCanvas(arguments[0]);
        const frame = viewport.element.getBoundingClientRect();
        done([frame.left + at[0], frame.top + at[1]]);
        """
        x, y = self.ask(script, list(place))
        return round(x), round(y)

    def click(self, place: Place) -> None:
        """Click with the mouse on a place of the shown slice."""
        actions = ActionChains(self.driver, duration=50)
        actions.w3c_actions.pointer_action.move_to_location(*self.canvas_at(place)).click()
        actions.perform()

    def drag(self, start: Place, end: Place) -> None:
        """Draw with the pressed mouse from one place of the shown slice to another."""
        actions = ActionChains(self.driver, duration=60)
        pointer = actions.w3c_actions.pointer_action
        pointer.move_to_location(*self.canvas_at(start)).pointer_down()
        pointer.move_to_location(*self.canvas_at(end)).pointer_up()
        actions.perform()

    def measured(self, tool: str) -> dict | None:
        """Return what the tool's only measurement found, None before it is there."""
        script = """
        const all = window.cornerstoneTools.annotation.state.getAllAnnotations();
        const own = all.filter(one => one.metadata.toolName === arguments[0]);
        const found = own.length ? Object.values(own[0].data.cachedStats)[0] : null;
        done(found && JSON.stringify(found));
        """
        found = self.ask(script, tool)
        return json.loads(str(found)) if found else None

    def forget_measurements(self) -> None:
        """Remove everything that was drawn with tools."""
        self.ask("window.cornerstoneTools.annotation.state.removeAllAnnotations(); viewport.render(); done()")

    def show_three_planes(self) -> None:
        """Show the series in three planes at right angles, computed by the viewer from its slices."""
        self.ask("window.commandsManager.runCommand('toggleHangingProtocol', {protocolId: 'mpr'}); done()")
        loaded = """
        const volume = viewport && viewport.type === 'orthographic' && viewport.getImageData();
        const id = volume && viewport.getVolumeId();
        done(!!id && window.cornerstone.cache.getVolume(id).loadStatus.loaded);
        """
        eventually(lambda: self.ask(loaded), PATIENCE_S, "the volume in three planes")

    def cut_through(self, place: Place) -> None:
        """Let the active plane of three go through a place [mm]."""
        self.ask("viewport.jumpToWorld(arguments[0]); viewport.render(); done()", list(place))

    def volume_value_at(self, place: Place) -> float:
        """Return the value at a place [mm] of the volume that the three planes cut."""
        script = """
        const {imageData, voxelManager} = viewport.getImageData();
        const index = window.cornerstone.utilities.transformWorldToIndex(imageData, arguments[0]);
        done(voxelManager.getAtIJKPoint(Array.from(index)));
        """
        return float(self.ask(script, list(place)))

    def segment_names(self) -> dict[int, str]:
        """Return the names of the segments that are shown, by their numbers."""
        script = """
        const shown = window.cornerstoneTools.segmentation.state.getSegmentations();
        done(shown.flatMap(one => Object.values(one.segments).map(segment => [segment.segmentIndex, segment.label])));
        """
        return {int(number): str(name) for number, name in self.ask(script)}

    def segments_of_slice(self) -> list[list[int]]:
        """Return each layer of segment numbers over the shown slice; segments that overlap are in several layers."""
        script = """
        const shown = viewport.getCurrentImageId();
        const layers = window.cornerstoneTools.segmentation.state.getSegmentations()
          .flatMap(one => Object.values(one.representationData.Labelmap.labelmaps));
        const ofShown = layer => layer.imageIds.map(id => window.cornerstone.cache.getImage(id))
          .filter(image => image.referencedImageId === shown);
        const numbers = (layer, image) => Array.from(
          image.voxelManager.getScalarData(), label => layer.labelToSegmentIndex[label] || 0);
        done(layers.flatMap(layer => ofShown(layer).map(image => numbers(layer, image))));
        """
        return self.ask(script)

    def outlines(self) -> dict[str, tuple[list[str], list[Place]]]:
        """Return the lines of text and the corners [mm] of every outline of a report, by its tracking identifier."""
        script = """
        const all = window.cornerstoneTools.annotation.state.getAllAnnotations();
        done(all.filter(one => one.metadata.toolName === 'DICOMSRDisplay').map(one => [
          one.data.TrackingUniqueIdentifier,
          one.data.labels.map(line => `${line.label}: ${line.value}`),
          one.data.handles.points.map(point => Array.from(point)),
        ]));
        """
        return {str(uid): (lines, points) for uid, lines, points in self.ask(script)}

    def overlay_values(self, places: list[Place]) -> list[float] | None:
        """Return the values at places [mm] of the Parametric Map laid over the series; None before it is there."""
        script = """
        const found = window.cornerstone.cache.getVolumes().find(one => one?.volumeId?.startsWith('pmap'));
        if (!found?.loadStatus?.loaded) return done(null);
        done(arguments[0].map(place => {
          const index = window.cornerstone.utilities.transformWorldToIndex(found.imageData, place);
          return found.voxelManager.getAtIJKPoint(Array.from(index));
        }));
        """
        return self.ask(script, [list(place) for place in places])

    def shows_pages(self) -> bool:
        """Tell whether most of the right half of the window is as white as paper."""
        shown = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("L")
        width, height = shown.size
        brightness = np.asarray(shown.crop((width // 2, height // 8, width, height)))
        return float((brightness > PAPER).mean()) > 0.4

    def shown_document(self) -> bytes | None:
        """Return the file that is shown inside the page, None before there is one."""
        script = """
        const shown = document.querySelector('object[type="application/pdf"], embed, iframe');
        const address = shown && (shown.data || shown.src);
        if (!address) return done(null);
        fetch(address).then(answer => answer.arrayBuffer())
          .then(content => done(btoa(Array.from(new Uint8Array(content), one => String.fromCharCode(one)).join(''))));
        """
        found = self.ask(script)
        return base64.b64decode(str(found)) if found else None

    def drawn_texts(self) -> list[str]:
        """Return the texts that tools and overlays have drawn over the image."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "svg.svg-layer text")
        try:
            return [one.text.strip() for one in found if one.text.strip()]
        except StaleElementReferenceException:
            return []

    def page_text(self) -> str:
        """Return everything that can be read on the page."""
        return str(self.driver.execute_script("return document.body.innerText"))

    def press(self, label: str) -> None:
        """Press the button with this label."""
        script = """
        return [...document.querySelectorAll('button')].find(one => one.innerText.trim() === arguments[0]) || null;
        """
        button = eventually(lambda: self.driver.execute_script(script, label), PATIENCE_S, f"the button {label}")
        self.driver.execute_script("arguments[0].click()", button)

    def picture(self, folder: Path, name: str) -> Path:
        """Save what the browser shows as a PNG file."""
        return save_picture(self.driver, folder, name)
