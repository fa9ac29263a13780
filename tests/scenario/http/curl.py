"""curl as a client."""
import json
import subprocess

from wire import PATIENCE


def curl_command(url, *options):
    return ["curl", "-sS", "--fail", "--max-time", str(PATIENCE), *map(str, options), url]


def told_by_curl(url, *options):
    """The fields that the origin `teller` got from curl: (name in lower case, value) of each."""
    done = subprocess.run(curl_command(url, *options), capture_output=True, text=True, check=True)
    return lower(json.loads(done.stdout)["fields"])


def lower(fields):
    return [(name.lower(), value) for name, value in fields]
