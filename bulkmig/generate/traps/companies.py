"""Traps of companies: codes whose slugs collide, branding, time zones, addresses."""

from __future__ import annotations

from collections.abc import Sequence

from bulkmig.generate.frame import Frame
from bulkmig.generate.traps import jsons, texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap

# The codes of a group of companies; `{}` is what makes them unique in the fleet.
_CODES: dict[str, tuple[str, ...]] = {
    "slug_case": ("Alpha{}", "ALPHA{}"),
    "slug_case_three": ("beta{}", "Beta{}", "BETA{}"),
    "slug_punctuation": ("GAM.{}", "GAM {}"),
    "slug_suffix_owned": ("DEL{}", "del{}", "DEL{}-2"),
    "slug_suffix_owned_other_spelling": ("EPS{}", "eps{}", "eps{}_2"),
    "slug_cut": ("L{:u<49}", "l{:u<49}"),
    "slug_cut_suffix_owned": ("M{:v<49}", "m{:v<49}", "m{:v<47}-2"),
    "slug_cut_after_lower_case": ("{:w<49}İ", "{:w<49}i"),
    "slug_ends_in_hyphen_when_cut": ("{:x<47}..y", "{:x<47}--y"),
    "code_lengthened": ("İ{}" + "İ" * 40,),
    "code_other_letters": ("ÆØÅ-{}-日本", "æøå-{}-日本"),
    "code_emoji": ("🚢{}👩🏽‍🔧",),
    "code_combining": ("e\u0301{}", "\u00e9{}"),
    "code_kelvin_sign": ("\u212a{}", "K{}"),
    "code_sharp_s": ("Straße{}", "STRASSE{}"),
    "code_only_hyphens": ("---{}", "___{}"),
    "code_line_break": ("LINE\n{}",),
    "code_white_space_around": (" TRIM{} ", "TRIM{}"),
}
_CODE_EMPTY = Trap("company_code_empty", "")
_GROUPS: Family = tuple(Trap(f"company_{name}") for name in _CODES)
_KEYS = ("logo", "primaryColor", "secondaryColor")
# For each of the keys, all the ways to write it; the traps are the same for all three.
_MEMBERS = {
    key: {name: member for name, member, _ in jsons.texts_of(key, "branding_text", "#12345678")}
    for key in _KEYS
}
_TEXTS: Family = tuple(
    Trap(name, json_only=json_only)
    for name, _, json_only in jsons.texts_of(_KEYS[0], "branding_text", "#12345678")
)
_SETTINGS: Family = (
    Trap("branding_string", '{"branding": "logo"}'),
    Trap("branding_array", '{"branding": [{"logo": "/a.svg"}]}'),
    Trap("branding_null", '{"branding": null}'),
    Trap("branding_empty", '{"branding": {}}'),
    Trap("branding_twice", '{"branding": {"logo": "/a.svg"}, "branding": {"primaryColor": "red"}}'),
    Trap("branding_twice_last_null", '{"branding": {"logo": "/a.svg"}, "branding": null}'),
    Trap("branding_key_escaped", r'{"brand\u0069ng": {"\u006cogo": "/a.svg"}}'),
    Trap("branding_key_nul", r'{"branding\u0000": {"logo": "/a.svg"}}', json_only=True),
    Trap("branding_nested", '{"theme": {"branding": {"logo": "/a.svg"}}}'),
    Trap("branding_in_array", '[{"branding": {"logo": "/a.svg"}}]'),
    Trap("branding_other_case", '{"Branding": {"logo": "/a.svg"}}'),
)
_TIMEZONES: Family = (
    Trap("timezone_null", None),
    Trap("timezone_unknown", "Mars/Olympus_Mons"),
    Trap("timezone_offset", "UTC+25"),
    Trap("timezone_space_after", "Europe/Oslo "),
    Trap("timezone_path", "../../etc/passwd"),
    Trap("timezone_link", "Asia/Calcutta"),
    Trap("timezone_text", "Midtsommertid 🌞"),
)
_EMAILS: Family = (
    Trap("company_email_null", None),
    Trap("company_email_without_at", "fleet.example.com"),
    Trap("company_email_without_name", "@example.com"),
    Trap("company_email_without_domain", "fleet@"),
    Trap("company_email_spaces", "the fleet@example.com"),
    Trap("company_email_line_break", "fleet@example.com\nbcc: all@example.com"),
)
_ACTIVE: Family = (Trap("company_inactive", "f"), Trap("company_active", "t"))
_SLOTS = {
    "name": (texts.GIVEN,),
    "contact_email": (_EMAILS,),
    "contact_phone": (texts.ANY,),
    "timezone": (_TIMEZONES,),
    "settings": (_SETTINGS, jsons.JSON),
    "is_active": (_ACTIVE,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
_UNSTORABLE = Trap("company_unstorable", error=True)
TRAPS: Family = (*_GROUPS, *_TEXTS, *_SETTINGS, *_TIMEZONES, *_EMAILS, *_ACTIVE, _UNSTORABLE)
ONCE: Family = (_CODE_EMPTY,)


def codes(planter: Planter) -> list[list[str]]:
    """The codes of the companies that a fleet has for its traps, in groups whose slugs meet."""
    groups = [[""]] if planter.least else []
    planter.counts[_CODE_EMPTY.name] += len(groups)
    for round_ in range(planter.least):
        for name, patterns in _CODES.items():
            groups.append([pattern.format(f"{round_:02}{len(name):02}") for pattern in patterns])
            planter.count(f"company_{name}")
    return groups


def plant(planter: Planter, frame: Frame, fleet: range, carriers: Sequence[int]) -> None:
    """Changes companies: some of the `fleet`'s, and those that are there for the traps."""
    for row in (row for row in fleet if planter.rng.random() < planter.nasty):
        _plant_branding(planter, frame, row)
        planter.plant_slots(frame, row, _SLOTS)
    for row in carriers:
        if planter.lacking(_TEXTS):
            _plant_branding(planter, frame, row)
        planter.plant(frame, row, _SETTINGS if planter.lacking(_SETTINGS) else jsons.JSON, "settings")
        planter.plant_slots(frame, row, _SLOTS, share=1.0)


def _plant_branding(planter: Planter, frame: Frame, row: int) -> None:
    """Three traps at once: the keys are read one by one."""
    traps = [planter.draw(_TEXTS) for _ in _KEYS]
    members = [_MEMBERS[key][trap.name] for key, trap in zip(_KEYS, traps, strict=True) if trap]
    if frame.is_free(row, "settings"):
        frame.put(row, "settings", '{"branding": {' + ", ".join(members) + "}}")
        for trap in traps:
            if trap:
                planter.count(trap.name)


def plant_unstorable(planter: Planter, frame: Frame, row: int) -> None:
    """Makes a company an error, and with it all its vessels."""
    planter.count(_UNSTORABLE.name)
    planter.plant(frame, row, jsons.UNSTORABLE, "settings")
    frame.claim(row)
