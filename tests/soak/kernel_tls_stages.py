"""TLS whose records the kernel makes, under kernels that can: in virtual machines, since the host's may have no such thing.
The stage yields (what, figure as text, whether it is as wanted)."""
import json
import pathlib
import platform
import re
import shutil

from processes import BenchError
from tls_material import Material
from virtual_machine import Files, Kernel, boot

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ("headgate", "headgate-controlplane", "headgate-dataplane", "headgate-holder")
MODULES = ("tls", "ctr", "gcm", "ghash_generic", "chacha", "chacha_generic", "chacha20poly1305", "poly1305_generic")
# The suite of the kernel and what the gateway says of it: new keys on an open connection came with Linux 6.14.
KERNELS = ((None, "no-key-update"), ("sid", "used"))
USERS = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"


def guest_files(run):
    files, material = Files(), Material(run.work)
    for name in PROGRAMS:
        files.add_host(run.programs / name, f"/headgate/{name}")
    files.add_host(shutil.which("curl"), "/bin/curl")
    files.add_python("kernel_tls_guest", HERE)
    for library in ("libssl.so.3", "libcrypto.so.3"):
        files.add_host(f"/usr/lib/{platform.machine()}-linux-gnu/{library}")
    files.add("/site/site.pem", material.certificate.encode())
    files.add("/site/site.key", material.key.encode())
    files.add("/etc/passwd", USERS.encode())
    files.add("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    return files


def kernel_tls(run):
    """TLS records by the kernel: every byte is right, with new keys, alerts and ends, and without it nothing differs."""
    if platform.machine() != "x86_64" or not shutil.which("qemu-system-x86_64") or not shutil.which("busybox"):
        yield "skipped", "needs x86-64, qemu-system-x86 and busybox-static (deploy/packages/bench.txt)", True
        return
    for suite, state in KERNELS:
        kernel = Kernel(suite)
        run.progress(f"Linux {kernel.version} boots")
        said = boot(kernel, guest_files(run), MODULES,
                    f"/usr/bin/python3 -B /test/kernel_tls_guest.py {state} /headgate", run.work)
        results = [json.loads(line) for line in re.findall(r"RESULT (\[.*\])", said)]
        for what, figure, is_wanted in results:
            yield f"Linux {kernel.version}: {what}", figure, is_wanted
        if not results or "DONE" not in said:
            raise BenchError(f"Linux {kernel.version}: it did not come to its end:\n{said[-3000:]}")


STAGES = {"kernel-tls": kernel_tls}
