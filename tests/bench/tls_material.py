"""What TLS needs in the benchmark: a certificate for the proxies, and clients that all offer the same."""
import os
import ssl
import subprocess

from processes import BenchError

NAME = "bench.test"
PARAMETERS = """
openssl_conf = all
[all]
ssl_conf = programs
[programs]
system_default = clients
[clients]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


class Material:
    """A self-signed ECDSA P-256 certificate and its key as text, and an OpenSSL configuration for load generators: TLS 1.3,
    X25519 and AES-128-GCM-SHA256, so that every proxy does the same work whatever it would prefer."""

    def __init__(self, folder):
        certificate, key, self.parameters = folder / "bench.pem", folder / "bench.key", folder / "openssl.cnf"
        self.parameters.write_text(PARAMETERS)
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2", "-subj",
             f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"openssl made no certificate:\n{done.stderr}")
        self.certificate, self.key = certificate.read_text(), key.read_text()
        self.environment = {**os.environ, "OPENSSL_CONF": str(self.parameters)}

    def client(self):
        """A context that trusts the certificate and nothing else, for connections of our own."""
        context = ssl.create_default_context(cadata=self.certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context
