"""Runs nothing but the listener of a site, for tests that kill it."""

import signal
import sys
from pathlib import Path

from node import app
from node.listener import Listener
from node.log import configure
from node.settings import load_settings

if __name__ == "__main__":
    configure()
    given = load_settings(Path(sys.argv[1]))
    listener = Listener(given, app.build_services(given))
    print(listener.start(), flush=True)
    signal.pause()
