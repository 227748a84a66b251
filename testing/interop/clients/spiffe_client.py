#!/usr/bin/env python3
"""A SPIFFE workload, with py-spiffe: fetches what the Workload API gives, and checks it with the bundles it gave.

The endpoint is in SPIFFE_ENDPOINT_SOCKET. It imports nothing of Marque. It prints one JSON line {"client", "version",
"ok", "seen"} and exits 0 or 1 (2: usage).

    spiffe_client.py SPIFFE_ID
"""

import json
import sys
from importlib.metadata import version

from cryptography.exceptions import InvalidSignature
from spiffe import JwtSource, JwtSvid, SpiffeId, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError

AUDIENCE = "test"
OTHER = "somebody-else"
LIMIT_SECONDS = 20


class Unexpected(Exception):
    """What was seen is not what was expected."""


def need(holds, what):
    if not holds:
        raise Unexpected(what)


def refused(call, what):
    """The error that a call must end with."""
    try:
        call()
    except PySpiffeError as error:
        return str(error)
    raise Unexpected(f"{what} was not refused")


def x509(client, identity):
    context = client.fetch_x509_context()
    svid = context.default_svid
    need(svid.spiffe_id == identity, f"the X.509-SVID is of {svid.spiffe_id}")
    need(svid.private_key.public_key() == svid.leaf.public_key(), "the private key is not the certificate's")
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(identity.trust_domain)
    alone = client.fetch_x509_bundles().get_bundle_for_trust_domain(identity.trust_domain)
    need(bundle and bundle.x509_authorities, "the SVID came without its trust domain's bundle")
    need(alone and alone.x509_authorities == bundle.x509_authorities, "the two ways to the bundle give different ones")
    need(any(issued_by(svid.cert_chain[-1], root) for root in bundle.x509_authorities), "no authority issued the chain")
    lifetime = svid.leaf.not_valid_after_utc - svid.leaf.not_valid_before_utc
    return f"X.509-SVID for {int(lifetime.total_seconds() // 60)} minutes, of {len(bundle.x509_authorities)} authority"


def issued_by(certificate, root):
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def jwt(client, identity):
    svid = client.fetch_jwt_svid({AUDIENCE})
    need(svid.spiffe_id == identity, f"the JWT-SVID is of {svid.spiffe_id}")
    need(svid.audience == {AUDIENCE}, f"the JWT-SVID is for {svid.audience}")
    named = client.fetch_jwt_svid({AUDIENCE, OTHER}, subject=identity)
    need(named.audience == {AUDIENCE, OTHER}, f"the JWT-SVID for two is for {named.audience}")
    bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(identity.trust_domain)
    need(bundle and bundle.jwt_authorities, "there is no JWT bundle")
    need(client.validate_jwt_svid(svid.token, AUDIENCE).spiffe_id == identity, "the validated SVID is another's")
    need(JwtSvid.parse_and_validate(svid.token, bundle, {AUDIENCE}).spiffe_id == identity, "offline it is another's")
    refused(lambda: JwtSvid.parse_and_validate(svid.token, bundle, {OTHER}), "another audience, offline,")
    why = refused(lambda: client.validate_jwt_svid(svid.token, OTHER), "another audience")
    refused(lambda: client.validate_jwt_svid(broken(svid.token), AUDIENCE), "a changed signature")
    stranger = SpiffeId(f"spiffe://{identity.trust_domain.name}/agent/not-this-one")
    refused(lambda: client.fetch_jwt_svid({AUDIENCE}, subject=stranger), "a JWT-SVID of another identity")
    return f"JWT-SVID valid by API and offline; for another audience: {why}"


def sources(identity):
    """The same by the sources that keep themselves fresh."""
    with X509Source(timeout_in_seconds=LIMIT_SECONDS) as source:
        svid = source.get_x509_context().default_svid
        need(svid.spiffe_id == identity, f"the X509Source is of {svid.spiffe_id}")
        need(source.get_bundle_for_trust_domain(identity.trust_domain), "the X509Source has no bundle")
    with JwtSource(timeout_in_seconds=LIMIT_SECONDS) as source:
        token = source.fetch_svid({AUDIENCE}).token
        bundle = source.get_bundle_for_trust_domain(identity.trust_domain)
        need(JwtSvid.parse_and_validate(token, bundle, {AUDIENCE}).spiffe_id == identity, "the JwtSource is another's")
    return "X509Source and JwtSource"


def broken(token):
    """The token with one character of its signature changed; not the last, whose low bits may not count."""
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def fetch(identity):
    with WorkloadApiClient(default_timeout=LIMIT_SECONDS) as client:
        return f"{identity}: {x509(client, identity)}; {jwt(client, identity)}; {sources(identity)}"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        identity = SpiffeId(sys.argv[1])
        ok, seen = True, fetch(identity)
    except Exception as error:
        ok, seen = False, str(error) if isinstance(error, Unexpected) else f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "spiffe-python", "version": version("spiffe"), "ok": ok, "seen": seen}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
