"""RabbitMQ's address, with the certificate authority that vouches for it, as pika wants them."""

import ssl

import pika


def parameters(url: str, *, authority: str | None) -> pika.URLParameters:
    """How to connect to `url`, `amqp://…` or `amqps://…`.

    `authority` is the PEM text of the certificates to trust, else the system's are. Raises
    ValueError for what cannot be read; the message never shows a password.
    """
    try:
        found = pika.URLParameters(url)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    if authority and found.ssl_options is not None:
        try:
            found.ssl_options = pika.SSLOptions(ssl.create_default_context(cadata=authority))
        except ssl.SSLError as error:
            said = error.reason or str(error)
            raise ValueError(
                f"its certificate authority is no certificate in PEM form: {said}"
            ) from None
    return found
