"""`bulkmig doctor`: looks at both ends as a command would find them, and says what is missing and what is too
much. It touches nothing. Each module looks at one thing and yields checks."""

from bulkmig.doctor.check import Check
from bulkmig.doctor.examine import examine
from bulkmig.doctor.grants import grants

__all__ = ["Check", "examine", "grants"]
