"""What the rules say of text: white space, lower case, e-mail addresses."""

from __future__ import annotations

import re

# Unicode's White_Space property: 25 code points. (Python's str.isspace has four more, U+001C to U+001F.)
WHITE_SPACE = frozenset(
    chr(code)
    for code in (
        *range(0x0009, 0x000E), 0x0020, 0x0085, 0x00A0, 0x1680, *range(0x2000, 0x200B),
        0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
    )
)  # fmt: skip

_ADDRESS_PART = "[^@" + "".join(sorted(WHITE_SPACE)) + "]+"
_ADDRESS = re.compile(f"{_ADDRESS_PART}@{_ADDRESS_PART}\\.{_ADDRESS_PART}")


def is_blank(text: str) -> bool:
    """Empty, or nothing but white space."""
    return all(character in WHITE_SPACE for character in text)


def is_address(text: str) -> bool:
    """Whether the text looks like an e-mail address."""
    return _ADDRESS.fullmatch(text) is not None
