"""Where the helpers of the scenarios over HTTP are."""
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scenario" / "http"))
