"""A real browser without a window: Debian's Chromium, steered by its own driver, that reaches nothing but loopback."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

WIDTH, HEIGHT = 1600, 1000
_ARGUMENTS = (
    "--headless=new",
    # A software renderer: machines that test have no graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    # Every other host is unknown to this browser, so a page cannot send anything away.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    f"--window-size={WIDTH},{HEIGHT}",
)


@contextlib.contextmanager
def running_browser(program: Callable[[str], str], profile: Path) -> Iterator[Chrome]:
    """Start Chromium with a fresh profile; close it on leaving."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        # Chromium refuses to start its sandbox as root.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(program("chromedriver")))
    try:
        driver.set_script_timeout(60)
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


def complaints(driver: Chrome) -> list[str]:
    """Return the browser's own messages about errors on the page since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def save_picture(driver: Chrome, folder: Path, name: str) -> Path:
    """Save what the browser shows as a PNG file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    assert driver.save_screenshot(str(path)), f"the picture {name} was not saved"
    return path
