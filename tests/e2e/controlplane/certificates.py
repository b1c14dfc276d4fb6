"""Throw-away keys, certificates and tokens of one control plane. Nothing here outlives the folder it is given."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Certificates:
    authority: Path
    server_certificate: Path
    server_key: Path
    token_key: Path
    token_public_key: Path


def make_certificates(folder: Path) -> Certificates:
    made = Certificates(*(folder / name for name in ("ca.crt", "server.crt", "server.key", "token.key", "token.pub")))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.authority)
    server = authority.issue_cert("127.0.0.1", "localhost")
    made.server_certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    server.private_key_pem.write_to_path(made.server_key)
    key = ec.generate_private_key(ec.SECP256R1())
    made.token_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    made.token_public_key.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return made


def sign_token(certificates: Certificates, *, namespace: str, name: str, uid: str, now: datetime, lifetime: timedelta) -> str:
    """A ServiceAccount's token as the API server itself signs them, but as short-lived as a test wants it."""
    key = serialization.load_pem_private_key(certificates.token_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    claims = {
        "iss": ISSUER,
        "aud": [ISSUER],
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
    }
    signed = f"{_encode(json.dumps({'alg': 'ES256', 'typ': 'JWT'}).encode())}.{_encode(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
