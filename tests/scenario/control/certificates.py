"""Certificates for tests, made by the openssl program."""
import datetime
import pathlib
import subprocess

CA_CONFIGURATION = """
[ca]
default_ca = this
[this]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


def openssl(*arguments, text=None):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True, input=text).stdout


def stamp(days):
    """So many days from now, as openssl wants it."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


class Authority:
    """Signs certificates in a folder of its own."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.pem = self.folder / "ca.pem"
        (self.folder / "index").touch()
        (self.folder / "serial").write_text("01\n")
        self.configuration = self.folder / "ca.cnf"
        self.configuration.write_text(CA_CONFIGURATION.format(folder=self.folder))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365", "-subj",
                f"/CN={name}", "-keyout", self.folder / "ca.key", "-out", self.pem)

    def key(self, path, kind="ec"):
        if kind == "ec":
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        else:
            openssl("genrsa", "-out", path, kind)
        return path

    def certify(self, key, path, names, first=-1, last=90, extensions=()):
        """A chain of two for that key: valid from day `first` until day `last` from now."""
        request = self.folder / "request"
        san = ",".join(("IP:" if n[0].isdigit() else "URI:" if "://" in n else "DNS:") + n for n in names)
        added = [word for extension in (f"subjectAltName={san}", *extensions) for word in ("-addext", extension)]
        openssl("req", "-new", "-key", key, "-subj", "/CN=" + names[0].rpartition("/")[2], *added, "-out", request)
        openssl("ca", "-batch", "-config", self.configuration, "-in", request, "-out", path, "-notext", "-startdate", stamp(first),
                "-enddate", stamp(last))
        with open(path, "a", encoding="ascii") as file:
            file.write(self.pem.read_text())
        return path

    def pair(self, folder, name, names, kind="ec", **more):
        """name.pem and name.key in the folder; their paths. `more` is what `certify` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        key = self.key(folder / f"{name}.key", kind)
        return self.certify(key, folder / f"{name}.pem", names, **more), key

    def revoked(self):
        """The list of what it has revoked, as a DER file is: good for a day."""
        pem, der = self.folder / "crl.pem", self.folder / "crl.der"
        openssl("ca", "-gencrl", "-config", self.configuration, "-crldays", "1", "-out", pem)
        openssl("crl", "-in", pem, "-outform", "DER", "-out", der)
        return der.read_bytes()

    def ocsp(self, certificate, path, minutes=60):
        """A response that is good for so many minutes."""
        openssl("ocsp", "-index", self.folder / "index", "-rsigner", self.pem, "-rkey", self.folder / "ca.key", "-CA", self.pem,
                "-issuer", self.pem, "-cert", certificate, "-respout", path, "-nmin", minutes)
        return path


def fingerprint(path):
    return openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]


def swap_link(link, target):
    """As Kubernetes changes a volume: a new link is renamed over the old one."""
    fresh = link.with_name(link.name + "_tmp")
    fresh.symlink_to(target)
    fresh.rename(link)
