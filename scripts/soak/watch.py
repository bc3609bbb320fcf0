"""What a soak watches of the server from outside: metrics, memory, processes and the log."""
import collections
import contextlib
import http.client
import os
import pathlib
import re
import statistics
import threading
import time
import urllib.parse

# Shares of the samples after the caches were full: the last is compared with the first.
PARTS = 5


class Watch:
    """Samples of metrics and memory, one a second, until `stop`."""

    def __init__(self, address, pid):
        self.address, self.pid = urllib.parse.urlparse(address).netloc, pid
        self.samples, self.faults = [], []
        self.start, self.end = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.end.wait(1):
            try:
                self.samples.append(self.sample())
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.faults.append(f"/metrics was not answered: {error!r}")

    def stop(self):
        """Ends the sampling. `metrics` can be asked on."""
        self.end.set()
        self.thread.join()

    def metrics(self):
        """Values by name and labels, as they are written."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def sample(self):
        metrics = self.metrics()
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return {
            "seconds": round(time.monotonic() - self.start, 1),
            "resident_mib": round(int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024, 2),
            "anonymous_mib": round(int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024, 2),
            "threads": metrics["process_threads"],
            "descriptors": metrics["process_open_fds"],
            "free_pages": total(metrics, "encdec_pages", 'state="free"'),
            "pages": total(metrics, "encdec_pages"),
            "evictions": total(metrics, "encdec_cross_cache_evictions_total"),
            "rows": total(metrics, "encdec_running_rows"),
            "waiting": total(metrics, "encdec_waiting_rows"),
        }


def total(metrics, name, label=""):
    return sum(value for key, value in metrics.items() if re.split("[{ ]", key)[0] == name and label in key)


def memory(samples):
    """How memory moved once sources were evicted, which is when all pages had been used."""
    full = [sample for sample in samples if sample["evictions"] > 0]
    figures = {"full_after_s": full[0]["seconds"] if full else None, "samples": len(full)}
    if len(full) < 2 * PARTS:
        return figures
    size = len(full) // PARTS
    first, last = ([sample["resident_mib"] for sample in part] for part in (full[:size], full[-size:]))
    slope = statistics.linear_regression([sample["seconds"] for sample in full],
                                         [sample["resident_mib"] for sample in full]).slope
    before, after = statistics.median(first), statistics.median(last)
    return {**figures, "first_fifth_mib": before, "last_fifth_mib": after,
            "change_percent": round(100 * (after / before - 1), 2), "mib_per_minute": round(60 * slope, 3)}


def lost_pages(samples, pages):
    """Samples in which free, held and cached pages together are not all."""
    wrong = [sample for sample in samples if sample["pages"] != pages]
    return [f"{sample['pages']} of {pages} pages were there after {sample['seconds']} s" for sample in wrong]


def at_rest(metrics, pages):
    """What is not as it has to be when nobody asks for anything; empty when all is well."""
    held = total(metrics, "encdec_pages", 'state="held"')
    kept = total(metrics, "encdec_pages", 'state="free"') + total(metrics, "encdec_pages", 'state="cached"')
    zero = ["encdec_running_rows", "encdec_waiting_rows", "encdec_waiting_encodings", "encdec_open_requests",
            "encdec_held_pages", "encdec_batches"]
    lacks = [f"{name} is {total(metrics, name)}" for name in zero if total(metrics, name) != 0]
    if (held, kept) != (0, pages):
        lacks.append(f"{held} pages are held, and {kept} of {pages} are free or cached")
    # The one that asks.
    if metrics["encdec_connections_open"] > 1:
        lacks.append(f"{metrics['encdec_connections_open']} connections are open")
    return lacks


def children(pid):
    """Processes that the server has started and that are still there."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def thread_names(pid):
    """Numbers of the server's threads by their name."""
    names = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names[(task / "comm").read_text().strip()] += 1
    return names


def log_faults(lines):
    """Lines of the log that must not be: panics, errors, and requests that failed by the server's fault."""
    return [line.strip()[:300] for line in lines if re.search(r"panicked|\bERROR\b|a request failed", line)]


def warnings(lines):
    """Numbers of the warnings by their first words."""
    counts = {}
    for line in lines:
        found = re.search(r"\bWARN\b.*?: (.{0,60})", line)
        if found:
            counts[found.group(1)] = counts.get(found.group(1), 0) + 1
    return counts
