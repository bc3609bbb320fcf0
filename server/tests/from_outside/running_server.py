"""A server as a process of its own, for tests that ask it from outside.

Needs nothing but Python. The program is the one that `cargo build` leaves in target/debug, or `ENCDEC_SERVER` names it.
"""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("ENCDEC_SERVER", str(ROOT / "target/debug/server"))


class Server:
    """Serves the demo under `settings` (text of a config.toml), on any free port if none is named; for `with`."""

    def __init__(self, settings="", port=0, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name, "config.toml")
        config.write_text(settings)
        command = [PROGRAM, "serve", "--config", str(config), "--port", str(port)]
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r" listens on (http://\S+)", line)
            if found:
                self.address = found.group(1)
                break
        else:
            raise SystemExit("the server did not start:\n" + "".join(self.log))
        # A pipe that nobody reads would fill.
        self.reading = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reading.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
        self.reading.join()
        self.process.stderr.close()
        self.folder.cleanup()
