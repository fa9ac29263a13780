"""Where the helpers of the scenarios over HTTP are, and aioquic."""
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scenario" / "http"))
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "http3_peers"))
