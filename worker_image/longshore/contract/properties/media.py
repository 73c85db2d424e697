"""Media types: checks whether a `content_type` denotes JSON in UTF-8."""

import re

JSON = "application/json"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, 5.6.2
_TYPE = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})[ \t]*")
_PARAMETER = re.compile(
    rf';[ \t]*(?:({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?[ \t]*', re.DOTALL
)
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def why_not_json(content_type: object) -> str | None:
    """Return why `content_type` does not denote JSON in UTF-8; None if it does.

    Types are compared as RFC 9110 defines: case and parameters are ignored, except for a charset
    that is not UTF-8. Types that end in `+json` are not accepted: they are envelopes or
    vocabularies whose members are not a handler's arguments.
    """
    must = f"it must be {JSON!r}"
    if not isinstance(content_type, str) or not (found := _TYPE.match(content_type)):
        return must
    if found[1].lower() != JSON:
        return must
    position = found.end()
    while position < len(content_type):
        parameter = _PARAMETER.match(content_type, position)
        if parameter is None:
            return f"{must}, with parameters like '; charset=utf-8' or none"
        name, token, quoted = parameter.groups()
        value = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if name and name.lower() == "charset" and value.lower() not in _UTF8:
            return f"{must} in UTF-8, not in another charset"
        position = parameter.end()
    return None
