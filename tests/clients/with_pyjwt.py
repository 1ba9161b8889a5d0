"""PyJWT, as an identity provider signs with it and a service verifies with it: the gate says what it says."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode

import jwt
import requests

from checks import Checks, equal, holds

checks = Checks("PyJWT")
ISSUE = checks.gates["jira-tokens"] + "/rest/api/3/issue/PROJ-1"
ISSUER, AUDIENCE = "https://idp.example.com", "scopegate"
PUBLISHED = {key["alg"]: key for key in checks.issuer["published"]["keys"]}
PRIVATE = checks.issuer["private"]


def claims(**changes) -> dict:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 300, "azp": "portal", "sub": "dana"} | changes
    return {name: value for name, value in said.items() if value is not None}


def signed(algorithm: str, said: dict, key: str | None = None, **header) -> str:
    header = {"kid": algorithm.lower()} | header
    return jwt.encode(said, key or PRIVATE[algorithm], algorithm=algorithm, headers=header)


def library(token: str) -> bool:
    """What PyJWT says of it, by the published key that it names."""
    try:
        header = jwt.get_unverified_header(token)
        key = next(key for key in PUBLISHED.values() if key["kid"] == header.get("kid"))
        jwt.decode(
            token,
            jwt.PyJWK(key).key,
            algorithms=[key["alg"]],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp"]},
        )
    except (jwt.PyJWTError, StopIteration):
        return False
    return True


def ask(token: str) -> requests.Response:
    return requests.get(ISSUE, headers={"authorization": f"Bearer {token}"}, timeout=30)


def refused(token: str, reason: str = "unidentified"):
    with checks.unseen():
        answer = ask(token)
    equal((answer.status_code, answer.headers["x-scopegate-reason"]), (401, reason))


def by_hand(header: dict, said: dict, secret: bytes) -> str:
    """A token that PyJWT would not make: an HMAC by whatever is at hand."""
    part = lambda value: urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
    text = part(header) + b"." + part(said)
    return (text + b"." + urlsafe_b64encode(hmac.digest(secret, text, hashlib.sha256)).rstrip(b"=")).decode()


for algorithm in PRIVATE:
    with checks.check(f"a token that it signs by {algorithm} passes, and the product sees the gate's own credential"):
        before = len(checks.seen())
        for header in ({}, {"typ": "at+jwt"}):
            token = signed(algorithm, claims(), **header)
            equal((library(token), ask(token).status_code), (True, 200))
        equal({each["headers"]["authorization"] for each in checks.seen()[before:]}, {"Bearer real-portal"})

with checks.check("what it does not take the gate does not take"):
    now = int(time.time())
    for said in (
        claims(aud="another"),
        claims(aud=None),
        claims(exp=now - 60),
        claims(exp=None),
        claims(nbf=now + 300),
        claims(iat=now + 300),
    ):
        token = signed("ES256", said)
        equal(library(token), False)
        refused(token)
    for token in (
        signed("ES256", claims(), key=checks.issuer["stranger"]),
        signed("RS256", claims(), kid="ps256"),
        signed("ES256", claims(), kid="es384"),
        jwt.encode(claims(), None, algorithm="none", headers={"kid": "es256"}),
        signed("ES256", claims())[:-4] + "AAAA",
    ):
        equal(library(token), False)
        refused(token)

with checks.check("a public key is no secret of an HMAC"):
    for key in PUBLISHED.values():
        secrets = [json.dumps(key).encode(), key.get("n", key.get("x")).encode()]
        for secret in secrets:
            token = by_hand({"alg": "HS256", "kid": key["kid"]}, claims(), secret)
            equal(library(token), False)
            refused(token)

with checks.check("who is behind it, and for which app, is judged as the policy has it"):
    token = signed("ES256", claims(sub="lee"))
    equal(library(token), True)
    with checks.unseen():
        answer = ask(token)
    equal(answer.headers["x-scopegate-reason"], "user_not_allowed")
    holds(answer.text, "user_not_allowed")
    refused(signed("ES256", claims(azp="another")), "unknown_app")
    refused(signed("ES256", claims(iss="https://other.example.com")), "unknown_app")

checks.end()
