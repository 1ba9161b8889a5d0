"""Makes the keys of an identity provider, with the libraries that apps use: the set that it publishes, and the private ones.

Run by `suites.py`, in the environment that the SDKs are installed in. Prints one JSON document.
"""

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MADE = {
    "RS256": (RSAAlgorithm, lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "PS256": (RSAAlgorithm, lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "ES256": (ECAlgorithm, lambda: ec.generate_private_key(ec.SECP256R1())),
    "ES384": (ECAlgorithm, lambda: ec.generate_private_key(ec.SECP384R1())),
    "EdDSA": (OKPAlgorithm, ed25519.Ed25519PrivateKey.generate),
}


def pem(key) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def main():
    published, private = [], {}
    for algorithm, (kind, make) in MADE.items():
        key = make()
        jwk = kind.to_jwk(key.public_key(), as_dict=True)
        # A library may add what the key is used for, which differs between them.
        jwk = {name: value for name, value in jwk.items() if name != "key_ops"}
        published.append(jwk | {"kid": algorithm.lower(), "alg": algorithm, "use": "sig"})
        private[algorithm] = pem(key)
    stranger = pem(ec.generate_private_key(ec.SECP256R1()))
    print(json.dumps({"published": {"keys": published}, "private": private, "stranger": stranger}))


if __name__ == "__main__":
    main()
