#!/usr/bin/env python3
"""An OAuth client over mutual TLS: reads the issuer's metadata, exchanges its JWT-SVID for an access token, and checks it.

RFC 8414 (metadata), RFC 8705 (mutual TLS, bound tokens), RFC 8693 (exchange), RFC 9068 (`at+jwt`), RFC 6749 (errors).
The SVIDs come from the Workload API in SPIFFE_ENDPOINT_SOCKET. It imports nothing of Marque. It prints one JSON line
{"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    token_exchange.py ISSUER TASK ALLOWED_SCOPE WIDER_SCOPE
"""

import base64
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import jwt
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import WorkloadApiClient

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
LIMIT_SECONDS = 20


class Unexpected(Exception):
    """What was seen is not what was expected."""


def need(holds, what):
    if not holds:
        raise Unexpected(what)


class Party:
    """What one side of the exchange has: its SVIDs, and connections with and without its certificate."""

    def __init__(self, folder, issuer, client):
        svid = client.fetch_x509_svid()
        bundle = client.fetch_x509_bundles().get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        roots, chain, key = folder / "bundle.pem", folder / "chain.pem", folder / "key.pem"
        roots.write_bytes(b"".join(root.public_bytes(Encoding.PEM) for root in bundle.x509_authorities))
        chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in svid.cert_chain))
        key.touch(mode=0o600)
        key.write_bytes(svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.id, self.jwt = str(svid.spiffe_id), client.fetch_jwt_svid({issuer}).token
        self.thumbprint = base64.urlsafe_b64encode(svid.leaf.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        self.anonymous = session(roots)
        self.known = session(roots)
        self.known.cert = (str(chain), str(key))


def session(roots):
    """A session that trusts the bundle only, and no proxy from the environment."""
    made = requests.Session()
    made.trust_env, made.verify = False, str(roots)
    return made


def metadata(party, issuer):
    """RFC 8414 section 3."""
    answer = party.anonymous.get(f"{issuer}/.well-known/oauth-authorization-server", timeout=LIMIT_SECONDS)
    need(answer.status_code == 200, f"the metadata are answered with {answer.status_code}")
    need(answer.headers["content-type"].split(";")[0] == "application/json", "the metadata are not application/json")
    found = answer.json()
    need(found["issuer"] == issuer, f"the metadata are of {found['issuer']}")
    need(GRANT in found["grant_types_supported"], "token exchange is not among the grants")
    need("tls_client_auth" in found["token_endpoint_auth_methods_supported"], "mutual TLS is not among the methods")
    need(found["tls_client_certificate_bound_access_tokens"] is True, "tokens are not said to be bound")
    return found


def exchange(at, found, **form):
    given = {"grant_type": GRANT, "subject_token_type": JWT, **form}
    answer = at.post(found["token_endpoint"], data=given, timeout=LIMIT_SECONDS)
    need("no-store" in answer.headers.get("cache-control", ""), "an answer may be stored (RFC 6749 section 5.1)")
    return answer


def token(party, issuer, found, task, scope):
    """RFC 8693 section 2.2.1, then the token itself by RFC 9068 section 4."""
    answer = exchange(party.known, found, subject_token=party.jwt, task=task, scope=scope)
    need(answer.status_code == 200, f"the exchange is answered with {answer.status_code}: {answer.text}")
    body = answer.json()
    need(body["issued_token_type"] == ACCESS_TOKEN and body["token_type"].lower() == "bearer", f"the token is {body}")
    need(body["scope"] == scope, f"the scope is `{body['scope']}`")
    keys = jwt.PyJWKSet.from_dict(party.anonymous.get(found["jwks_uri"], timeout=LIMIT_SECONDS).json())
    header = jwt.get_unverified_header(body["access_token"])
    need(header["typ"].lower().removeprefix("application/") == "at+jwt", f"typ is {header['typ']}")
    required = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]
    claims = jwt.decode(
        body["access_token"], keys[header["kid"]], algorithms=["ES256", "ES384", "EdDSA"], audience=issuer, issuer=issuer,
        options={"require": required})
    need(claims["client_id"] == party.id and claims["act"]["sub"] == party.id, f"the token is for {claims['client_id']}")
    need(claims["sub"] != party.id, "the subject is not the person who asked")
    need(claims["cnf"]["x5t#S256"] == party.thumbprint, "the token is bound to another certificate")
    need(abs(claims["exp"] - claims["iat"] - body["expires_in"]) <= 1, "expires_in is not the token's own")
    return claims, header


def refusals(party, found, task, allowed, wider):
    """What must not work, and the error that it must be."""
    own = {"subject_token": party.jwt, "task": task}
    cases = [
        ("a wider scope", party.known, {**own, "scope": f"{allowed} {wider}"}, 400, "invalid_scope"),
        ("a scope that is none", party.known, {**own, "scope": "everything"}, 400, "invalid_scope"),
        ("a garbage subject", party.known, {**own, "subject_token": "garbage"}, 400, "invalid_request"),
        ("no subject", party.known, {"task": task}, 400, "invalid_request"),
        ("another target", party.known, {**own, "audience": "https://elsewhere.example"}, 400, "invalid_target"),
        ("another grant", party.known, {**own, "grant_type": "password"}, 400, "unsupported_grant_type"),
        ("no certificate", party.anonymous, own, 401, "invalid_client"),
    ]
    for what, at, form, status, error in cases:
        answer = exchange(at, found, **form)
        need((answer.status_code, answer.json().get("error")) == (status, error),
             f"{what} must be {status} {error}, and is {answer.status_code} {answer.text}")
    return len(cases)


def talk(folder, issuer, task, allowed, wider):
    with WorkloadApiClient(default_timeout=LIMIT_SECONDS) as client:
        party = Party(folder, issuer, client)
    found = metadata(party, issuer)
    claims, header = token(party, issuer, found, task, allowed)
    count = refusals(party, found, task, allowed, wider)
    return (f"{header['typ']} {header['alg']} for {claims['sub']}, act {claims['act']['sub']}, scope `{claims['scope']}`, "
            f"bound to the certificate; {count} refusals as specified")


def main():
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ok, seen = True, talk(Path(folder), *sys.argv[1:])
    except Exception as error:
        ok, seen = False, str(error) if isinstance(error, Unexpected) else f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "oauth-python", "version": version("PyJWT"), "ok": ok, "seen": seen}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
