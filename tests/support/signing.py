"""Keys of every type, and tokens signed with them in any way, honest or not."""

from __future__ import annotations

import base64
import json
from functools import cache

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm, get_default_algorithms

ALGORITHMS = {
    **get_default_algorithms(),
    "Ed25519": OKPAlgorithm(),
    "Ed448": OKPAlgorithm(),
}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value) -> str:
    """Return one part of a token; bytes are taken as they are, anything else is written as JSON."""
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


def sign(header, claims, key: SigningKey, algorithm: str | None = None) -> str:
    """Return a token with exactly that header and payload; the algorithm is the header's unless another is given."""
    signed = f"{part(header)}.{part(claims)}"
    used = ALGORITHMS[algorithm or header["alg"]]
    return f"{signed}.{base64url(used.sign(signed.encode(), key.private))}"


@frozen(eq=False)
class SigningKey:
    """A private key, or the bytes of a secret, and what its issuer says of it."""

    private: object
    algorithm: str
    key_id: str

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self, **members) -> dict:
        """Return the public half as an issuer publishes it; a member that is None is left out."""
        public = self.private if isinstance(self.private, bytes) else self.private.public_key()
        jwk = ALGORITHMS[self.algorithm].to_jwk(public, as_dict=True)
        jwk |= {"kid": self.key_id, "alg": self.algorithm} | members
        return {name: value for name, value in jwk.items() if value is not None}

    def token(self, claims, **header) -> str:
        """Return a token as an honest issuer makes it, but for the members of the header that are given."""
        return sign({"alg": self.algorithm, "kid": self.key_id} | header, claims, self)


@cache
def rsa_private(number: int, bits: int):
    """Return one of several private keys; making one takes a tenth of a second."""
    return rsa.generate_private_key(65537, bits)


@cache
def rsa_key(key_id="rsa", algorithm="RS256", *, number=0, bits=2048) -> SigningKey:
    """Return a key; those of one number are one key under several names."""
    return SigningKey(rsa_private(number, bits), algorithm, key_id)


@cache
def ec_key(key_id="ec", algorithm="ES256") -> SigningKey:
    curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    return SigningKey(ec.generate_private_key(curves[algorithm]()), algorithm, key_id)


@cache
def ed_key(key_id="ed", algorithm="Ed25519") -> SigningKey:
    curve = ed448.Ed448PrivateKey if algorithm == "Ed448" else ed25519.Ed25519PrivateKey
    return SigningKey(curve.generate(), algorithm, key_id)


def secret_key(secret: str, key_id="oct", algorithm="HS256") -> SigningKey:
    return SigningKey(secret.encode(), algorithm, key_id)


def key_set(*keys: SigningKey | dict) -> str:
    """Return a JWKS."""
    jwks = [key.jwk() if isinstance(key, SigningKey) else key for key in keys]
    return json.dumps({"keys": jwks})
