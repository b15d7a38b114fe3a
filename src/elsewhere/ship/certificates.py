"""SHIP trust: the certificates by which the processes of one cluster know each other. Made for it, and for no other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from elsewhere.hosts import write_new

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

VALID = timedelta(days=400)
_EARLY = timedelta(days=1)
"""Clocks differ: a node an hour behind must not find a certificate of the future."""


@dataclass(frozen=True, slots=True)
class Papers:
    """Files: the authority's certificate, and the certificate and private key that all of the cluster share."""

    authority: str
    certificate: str
    key: str


def papers(directory: Path) -> Papers:
    """Where they lie in a cluster's directory."""
    return Papers(*(str(directory / name) for name in ("ca.pem", "cluster.pem", "cluster.key")))


def make(directory: Path) -> Papers:
    """New ones, 0600 each. The authority's own key is not kept: nobody can be admitted later."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    above, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name("Elsewhere cluster authority"), _name("Elsewhere cluster")
    known = x509.SubjectKeyIdentifier.from_public_key(above.public_key())
    authority = (
        _begun(subject=issuer, issuer=issuer, key=above.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(known, critical=False)
        .sign(above, hashes.SHA256())
    )
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _begun(subject=subject, issuer=issuer, key=own.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
        .sign(above, hashes.SHA256())
    )
    made, pem = papers(directory), serialization.Encoding.PEM
    write_new(Path(made.authority), authority.public_bytes(pem))
    write_new(Path(made.certificate), certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    write_new(Path(made.key), own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        .serial_number(x509.random_serial_number()).not_valid_before(now - _EARLY).not_valid_after(now + VALID)
    )  # fmt: skip


def _usage(signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip
