"""A Debian kernel under qemu, without a disk: an initramfs of just the files that a program needs, and what it prints."""
import gzip
import lzma
import os
import pathlib
import re
import shutil
import subprocess

from processes import BenchError

BOOT_SECONDS = 900
MEMORY_MIB = 2048
KERNEL_PARTS = re.compile(r"linux-(?:image|binary|modules)-\d\S*-cloud-amd64$")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ip link set lo up
for module in {modules}; do insmod /modules/$module.ko || echo "no module $module"; done
{command}
reboot -f
"""


def run(*command, **options):
    """The output of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(map(str, command[:3]))} ...: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# ---- kernels

class Kernel:
    """The newest cloud kernel of a suite, unpacked in a folder that is kept. `suite` None: of the host's own sources."""

    def __init__(self, suite):
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        self.base = cache / "headgate/kernels"
        self.base.mkdir(parents=True, exist_ok=True)
        self.options = self.sources(suite) if suite else []
        parts = self.parts("linux-image-cloud-amd64")
        self.folder = self.base / sorted(parts)[0]
        if not (self.folder / ".complete").exists():
            self.unpack(parts)
        self.image = next(self.folder.rglob("vmlinuz*"))
        self.modules = {path.name.partition(".")[0].replace("-", "_"): path for path in self.folder.rglob("*.ko*")}
        self.version = next(self.folder.glob("**/lib/modules/*")).name

    def sources(self, suite):
        """Options for an apt that knows that suite alone, from the mirror of the host's apt, checked with Debian's keys."""
        mirror = run("apt-get", "indextargets", "--format", "$(SITE) $(LABEL)", "Created-By: Packages", "Origin: Debian")
        sites = sorted(line.split()[0] for line in mirror.splitlines() if line.endswith(" Debian"))
        if not sites:
            raise BenchError("apt knows no Debian mirror: apt-get update first")
        work = self.base / f"apt-{suite}"
        (work / "lists/partial").mkdir(parents=True, exist_ok=True)
        (work / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (work / "sources.list").write_text(f"deb [signed-by={keys}] {sites[0]} {suite} main\n")
        options = [f"Dir::Etc::sourcelist={work}/sources.list", "Dir::Etc::sourceparts=-", f"Dir::State::lists={work}/lists",
                   f"Dir::Cache={work}/cache", "Acquire::Languages=none"]
        options = [word for option in options for word in ("-o", option)]
        run("apt-get", *options, "-o", f"APT::Sandbox::User={os.environ.get('USER', 'root')}", "-qq", "update")
        return options

    def parts(self, package):
        """The packages that hold the kernel and its modules; older suites have one for both."""
        found = set()
        for name in re.findall(r"Depends: (\S+)", run("apt-cache", *self.options, "depends", package)):
            if KERNEL_PARTS.match(name) and name not in found:
                found |= {name} | self.parts(name)
        return found

    def unpack(self, parts):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name in parts:
            run("apt-get", *self.options, "-qq", "download", name, cwd=self.folder)
        for archive in self.folder.glob("*.deb"):
            run("dpkg-deb", "-x", archive, self.folder)
            archive.unlink()
        (self.folder / ".complete").touch()

    def module(self, name):
        """Its bytes, unpacked."""
        data = self.modules[name].read_bytes()
        return lzma.decompress(data) if self.modules[name].suffix == ".xz" else data

    def in_order(self, names):
        """{name: bytes} of those modules that this kernel has (the rest is built in, or gone), each behind what it needs."""
        found = {}
        for name in names:
            if name not in self.modules:
                continue
            data = self.module(name)
            depends = re.search(rb"\0depends=([^\0]*)", data)[1].decode().replace("-", "_").split(",")
            for needed, bytes_of in {**self.in_order(filter(None, depends)), name: data}.items():
                found.setdefault(needed, bytes_of)
        return found


# ---- what the machine starts with

class Files:
    """A tree for an initramfs: {path without the first slash: (mode, bytes)}."""

    def __init__(self):
        self.entries = {}
        for old, new in (("lib", "usr/lib"), ("lib64", "usr/lib64")):
            self.entries[old] = (0o120777, new.encode())
        for folder in ("proc", "sys", "dev", "tmp", "run", "state", "site", "root"):
            self.entries[folder] = (0o41777 if folder == "tmp" else 0o40755, b"")

    def add(self, path, data, mode=0o100644):
        path = str(path).lstrip("/")
        first = path.partition("/")[0]
        path = f"usr/{path}" if first in ("lib", "lib64") else path
        for parent in reversed(pathlib.PurePath(path).parents):
            self.entries.setdefault(str(parent), (0o40755, b""))
        self.entries[path] = (mode, data)

    def add_host(self, path, where=None):
        """A file of this machine, and what it is linked with."""
        path = pathlib.Path(path)
        self.add(where or path, path.read_bytes(), 0o100755)
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            self.add(library, pathlib.Path(library).read_bytes(), 0o100755)

    def add_python(self, program, folder):
        """The interpreter with the modules that the program imports, found by importing it here. It goes to /test."""
        code = (f"import sys; sys.path[:0] = [{str(folder)!r}]; import {program}\n"
                "print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)), sep='\\n')")
        self.add_host("/usr/bin/python3")
        for path in map(pathlib.Path, run("/usr/bin/python3", "-B", "-c", code).split()):
            if path.suffix == ".so":
                self.add_host(path)
            else:
                self.add(pathlib.Path("/test") / path.name if path.is_relative_to(folder) else path, path.read_bytes())

    def packed(self):
        """As `cpio -H newc` makes it."""
        out = bytearray()
        names = sorted(name for name in self.entries if name != ".")
        for number, name in enumerate([*names, "TRAILER!!!"], 1):
            mode, data = self.entries.get(name, (0, b""))
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
            out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
            out += bytes(-len(out) % 4) + data
            out += bytes(-len(out) % 4)
        return gzip.compress(bytes(out), 1)


# ---- the machine

def boot(kernel, files, modules, command, folder):
    """Runs the command as the machine's only program; returns what the console said."""
    loaded = kernel.in_order(modules)
    for name, data in loaded.items():
        files.add(f"/modules/{name}.ko", data)
    files.add_host("/bin/busybox", "/bin/busybox")
    files.add("/init", INIT.format(modules=" ".join(loaded), command=command).encode(), 0o100755)
    image = folder / "initramfs.gz"
    image.write_bytes(files.packed())
    console = folder / "console.log"
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", MEMORY_MIB, "-nographic", "-no-reboot",
               "-nic", "none", "-kernel", kernel.image, "-initrd", image,
               "-append", "console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check"]
    with open(console, "wb") as output:
        try:
            subprocess.run(list(map(str, machine)), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                           timeout=BOOT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            output.write(b"\nthe machine was not done in time\n")
    return console.read_text(errors="replace")
