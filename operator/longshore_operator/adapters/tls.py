"""TLS to RabbitMQ: the trusted authorities, and the exact cause of a failure."""

import ssl

from longshore.amqp.errors import causes
from longshore_operator.core.access.credentials import Address, Trust
from longshore_operator.errors import Invalid, OperatorError, Transient

_MISMATCHES = frozenset({62, 63, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, and its equivalents for e-mail and IP addresses."""

_EXPIRED = frozenset({9, 10})


def context(tls: Trust | None) -> ssl.SSLContext:
    """Return the context that verifies RabbitMQ's certificate. Raises Invalid if the configured
    certificates cannot be read."""
    try:
        return ssl.create_default_context(cadata=tls.authority if tls else None)
    except ssl.SSLError as error:
        source = tls.source if tls else "TLS"
        text = f"{source} holds no certificate in PEM format: {error.reason or error}"
        raise Invalid(text, reason="SecretInvalid") from error


def trouble(error: BaseException, *, address: Address, where: str) -> OperatorError | None:
    """Return what a failed connection to `where` means; None if TLS is not the cause."""
    # The innermost: aiohttp's own errors are SSLErrors too, but lack OpenSSL's message.
    cause = next(
        (each for each in list(causes(error))[::-1] if isinstance(each, ssl.SSLError)), None
    )
    if cause is None:
        return None
    if not isinstance(cause, ssl.SSLCertVerificationError):
        said = cause.reason or str(cause)
        return Transient(f"{where} does not speak TLS as expected: {said}", reason="TlsFailed")
    said = cause.verify_message.rstrip(".")
    if cause.verify_code in _MISMATCHES:
        text = (
            f"{where}: its certificate is for another name: {said}; set spec.host to a name in it"
        )
        return Transient(text, reason="TlsNameMismatch")
    if cause.verify_code in _EXPIRED:
        return Transient(f"{where}: {said}", reason="TlsCertificateExpired")
    source = (address.tls or Trust()).source
    text = f"{where}: its certificate is not signed by {source}: {said}"
    return Transient(text, reason="TlsUnknownAuthority")
