"""Traps of users: e-mails that are the same or only look so, roles, settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bulkmig.generate.frame import Frame
from bulkmig.generate.traps import jsons, texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap

# The e-mails of a group of users; `{}` is what makes them unique in the fleet.
_SAME: dict[str, tuple[str, ...]] = {
    "email_same": ("same{}@example.com",) * 2,
    "email_same_three": ("many{}@example.com", "Many{}@example.com", "many{}@Example.COM"),
    "email_other_case": ("case{}@example.com", "CASE{}@EXAMPLE.COM"),
    "email_dotted_i": ("\u0130{}@example.com", "i\u0307{}@example.com"),
    "email_dotless_i": ("I\u0131{}@example.com", "i\u0131{}@example.com"),
    "email_kelvin_sign": ("\u212a{}@example.com", "k{}@example.com"),
    "email_capital_sharp_s": ("ma\u1e9e{}@example.com", "ma\u00df{}@example.com"),
    "email_final_sigma": ("{}ΟΔΟΣ@example.com", "{}οδος@example.com"),
    "email_accents": ("ÅSE{}@example.com", "åse{}@example.com"),
    "email_cyrillic": ("ОЛЬГА{}@example.com", "ольга{}@example.com"),
    "email_non_bmp": ("\U00010400{}@example.com", "\U00010428{}@example.com"),
}
# These look the same to some, and are different by lower-casing.
_DIFFERENT: dict[str, tuple[str, ...]] = {
    "email_sharp_s_and_ss": ("ma\u00df{}@example.com", "mass{}@example.com"),
    "email_medial_sigma": ("{}ΟΔΟΣ@example.com", "{}οδοσ@example.com"),
    "email_composed": ("\u00e9{}@example.com", "e\u0301{}@example.com"),
    "email_space_after": ("space{}@example.com", "space{}@example.com "),
    "email_full_width": ("\uff41{}@example.com", "a{}@example.com"),
    "email_i_and_dotless_i": ("i{}@example.com", "\u0131{}@example.com"),
    "email_ligature": ("o\ufb03ce{}@example.com", "office{}@example.com"),
}
_CREATED: dict[str, tuple[str, ...]] = {
    "email_pair_equal_created_at": ("2023-01-01 00:00:00+00",) * 3,
    "email_pair_created_infinity": ("infinity", "-infinity", "2023-01-01 00:00:00+00"),
    "email_pair_created_microsecond": (
        "2023-01-01 00:00:00.000002+00",
        "2023-01-01 00:00:00.000001+00",
        "infinity",
    ),
    "email_pair_created_bc": (
        "0001-01-01 00:00:00+00",
        "0044-03-15 00:00:00+00 BC",
        "0100-01-01 00:00:00+00",
    ),
    "email_pair_created_anyhow": (),
}
_IN_ORDER = ("2020-01-01 00:00:00+00", "2020-01-02 00:00:00+00", "2020-01-03 00:00:00+00")
_SAME_COMPANY = Trap("email_pair_same_company")
_UNSELECTED_FIRST = Trap("email_pair_unselected_first")
_ERROR_FIRST = Trap("email_pair_error_first", error=True)
_WHERE: Family = (_SAME_COMPANY, Trap("email_pair_two_companies"), _UNSELECTED_FIRST, _ERROR_FIRST)
_GROUPS: Family = tuple(Trap(name) for name in (*_SAME, *_DIFFERENT))
_TIMES: Family = tuple(Trap(name) for name in _CREATED)
_INVALID: Family = (
    Trap("email_without_at", lambda rng: f"user{rng.getrandbits(40):x}.example.com"),
    Trap("email_without_name", lambda rng: f"@{rng.getrandbits(40):x}.example.com"),
    Trap("email_without_domain", lambda rng: f"user{rng.getrandbits(40):x}@"),
    Trap("email_space_inside", lambda rng: f"user {rng.getrandbits(40):x}@example.com"),
    Trap("email_line_break_inside", lambda rng: f"user\n{rng.getrandbits(40):x}@example.com"),
    Trap("email_empty", ""),
)
_ROLES: Family = tuple(
    Trap(f"role_{name.lower()}", name)
    for name in ("SUPER_ADMIN", "ADMIN", "MANAGER", "TECHNICIAN", "HSE_OFFICER", "VIEWER")
)
_ROLE_UNKNOWN = Trap("role_unknown", "AUDITOR", error=True, unknown=True)
_UNSTORABLE = Trap("user_unstorable", error=True)
_ACTIVE: Family = (Trap("user_inactive", "f"), Trap("user_active", "t"))
_PHONES: Family = (Trap("phone_longest", "☎" * 50),)
_SLOTS = {
    "password_hash": (texts.ANY,),
    "first_name": (texts.ANY,),
    "last_name": (texts.ANY,),
    "phone": (texts.ANY, _PHONES),
    "avatar_url": (texts.ANY, texts.LONG),
    "role": (_ROLES,),
    "settings": (jsons.JSON,),
    "is_active": (_ACTIVE,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (
    *_WHERE,
    *_GROUPS,
    *_TIMES,
    *_INVALID,
    *_ROLES,
    _ROLE_UNKNOWN,
    _UNSTORABLE,
    *_ACTIVE,
    *_PHONES,
)


class Users:
    """All users of a fleet, while their traps are planted."""

    def __init__(
        self, planter: Planter, frame: Frame, selected: Sequence[Sequence[int]], unselected: Sequence[int]
    ) -> None:
        """`selected` has the users of each company that has a selected vessel."""
        self._planter = planter
        self._frame = frame
        self._companies = deque(list(users) for users in planter.rng.sample(selected, len(selected)))
        self._unselected = planter.rng.sample(unselected, len(unselected))
        self.quarantined: list[str] = []

    def plant(self) -> None:
        """Plants pairs of e-mails, then what makes one user an error or awkward."""
        planter = self._planter
        share = int(planter.nasty * sum(map(len, self._companies))) // 8
        for number in range(max(share, 2 * planter.least * len(_GROUPS))):
            if number < share or planter.lacking((*_GROUPS, *_WHERE, *_TIMES)):
                self._plant_group()
        if planter.allows(_UNSTORABLE):
            for _ in range(max(share // 4, planter.least * 2)):
                self._break(self._take(1, same=True))
        for _ in range(max(share, planter.least * len(_INVALID))):
            for row in self._take(1, same=True):
                planter.plant(self._frame, row, _INVALID, "email")
        for row in range(len(self._frame)):
            if planter.rng.random() < max(planter.nasty, 0.5 if planter.least else 0):
                planter.plant_slots(self._frame, row, _SLOTS)

    def _plant_group(self) -> None:
        planter = self._planter
        group, where = planter.draw(_GROUPS), planter.draw(_WHERE)
        if group is None or where is None:
            return
        emails = (_SAME | _DIFFERENT)[group.name]
        hidden = [self._unselected.pop()] if where is _UNSELECTED_FIRST and self._unselected else []
        rows = hidden + self._take(len(emails) - len(hidden), same=where is _SAME_COMPANY)
        if len(rows) < len(emails) or (where is _UNSELECTED_FIRST and not hidden):
            return
        marker = f"{planter.rng.getrandbits(40):010x}"
        for row, email in zip(rows, planter.rng.sample(emails, len(emails)), strict=True):
            self._frame.put(row, "email", email.format(marker))
        planter.count(group.name)
        planter.count(where.name)
        created: tuple[str, ...] = _IN_ORDER
        if where not in (_UNSELECTED_FIRST, _ERROR_FIRST) and (when := planter.draw(_TIMES)):
            created = _CREATED[when.name]
            planter.count(when.name)
        for row, moment in zip(rows, created, strict=False):
            self._frame.put(row, "created_at", moment)
        if where is _ERROR_FIRST:
            self._break(rows[:1])
        elif where is _UNSELECTED_FIRST and group.name in _SAME:
            self.quarantined += (self._frame.columns["id"][row] for row in rows[1:])

    def _take(self, count: int, *, same: bool) -> list[int]:
        """Users that carry no trap yet, of one company or of as many as possible; none if too few."""
        rows: list[int] = []
        for _ in range(len(self._companies) * count):
            if len(rows) == count or not self._companies:
                break
            free = self._companies[0]
            wanted = count if same else 1
            if len(free) >= wanted:
                rows += (free.pop() for _ in range(wanted))
            if free:
                self._companies.rotate(-1)
            else:
                self._companies.popleft()
        return rows if len(rows) == count else []

    def _break(self, rows: list[int]) -> None:
        """Makes users errors."""
        planter = self._planter
        for row in rows:
            unknown = planter.allows(_ROLE_UNKNOWN)
            if unknown and planter.counts[_ROLE_UNKNOWN.name] <= planter.counts[_UNSTORABLE.name]:
                trap = _ROLE_UNKNOWN
                self._frame.put(row, "role", planter.make(trap))
            else:
                trap = _UNSTORABLE
                planter.plant(self._frame, row, jsons.UNSTORABLE, "settings")
            planter.count(trap.name)
            self._frame.claim(row)
            self.quarantined.append(self._frame.columns["id"][row])
