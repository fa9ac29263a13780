"""The HPACK of tests/conformance, which encodes exactly what it is told, under a name of its own: scenarios also use the
library that is called hpack."""
import importlib.util
import pathlib

PATH = pathlib.Path(__file__).resolve().parents[2] / "conformance" / "hpack.py"
_spec = importlib.util.spec_from_file_location("literal_hpack_of_conformance", PATH)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

Decoder, block, indexed, literal = _module.Decoder, _module.block, _module.indexed, _module.literal
FIRST_DYNAMIC = len(_module.STATIC) + 1
