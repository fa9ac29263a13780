"""What speaks HTTP/3 and is not ours, for tests: programs, and aioquic under this system's Python.

    import http3_peers
    http3_peers.program("curl")     the path of curl, gtlsclient, nginx or caddy
    http3_peers.reason              None when they are there, or else why they are not, for a mark that skips
    from aioquic...                 can be imported once this module is, unless there is a reason

The stage `servers` of tests/run builds them, as tests have no network; here they are only looked for.
"""
import functools
import os
import pathlib
import subprocess
import sys
import types

HERE = pathlib.Path(__file__).resolve().parent


@functools.cache
def folder():
    """Where build has put them, or None. It says the place at once when they are there."""
    environment = {**os.environ, "HEADGATE_ONLY_LOOK": "1"}
    done = subprocess.run([HERE / "build"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env=environment)
    return pathlib.Path(done.stdout.strip()) if done.returncode == 0 else None


def program(name):
    return str(folder() / "bin" / name)


def stand_in(name, **contents):
    """A module in the place of one that is missing here."""
    try:
        __import__(name)
    except ImportError:
        module = types.ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module


def make_importable():
    """aioquic wants more for verifying certificates than this system has. That is not used: tests compare a certificate with
    the one that they expect."""
    sys.path.append(str(folder() / "python"))
    stand_in("certifi")
    stand_in("service_identity")
    from cryptography.hazmat.primitives.asymmetric import types as names_of_keys
    for name in ("CertificateIssuerPublicKeyTypes", "PrivateKeyTypes"):  # names that are only annotations
        if not hasattr(names_of_keys, name):
            setattr(names_of_keys, name, object)


def find():
    if folder() is None:
        return "no peers of HTTP/3: tests/http3_peers/build has not been run, or could not (stage `servers` of tests/run)"
    try:
        make_importable()
        import aioquic.quic.connection  # pylint: disable=unused-import
    except ImportError as error:
        return f"aioquic cannot be imported here: {error}"
    return None


reason = find()
