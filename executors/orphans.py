"""Loaded by the forkserver that datatrove's local executor starts processes from: they end with the driver.

Without this, the manager process of a driver that was killed would wait for it for ever.
"""

import os
import threading
import time

import multiprocess


def _watch() -> None:
    while (driver := multiprocess.parent_process()) is None:  # not told yet
        time.sleep(0.1)
    driver.join()
    os._exit(1)


os.register_at_fork(after_in_child=lambda: threading.Thread(target=_watch, daemon=True).start())
