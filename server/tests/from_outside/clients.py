"""Runs the tests of clients: those of this folder's Python, then those of Node against a server of their own."""
import os
import pathlib
import subprocess
import sys
import unittest

from running_server import Server

HERE = pathlib.Path(__file__).parent


def main():
    tests = unittest.defaultTestLoader.discover(str(HERE), pattern="test_clients.py")
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    with Server() as server:
        node = subprocess.run(["node", "--test", "clients.test.mjs"], cwd=sys.argv[1], check=False,
                              env={**os.environ, "ENCDEC_URL": server.address})
    sys.exit(0 if result.wasSuccessful() and node.returncode == 0 else 1)


if __name__ == "__main__":
    main()
