"""The machines that a fleet's equipment is made of: kind, maker, model and the maker's data."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import NamedTuple

# Code prefix, name, type, and the typical power in kW.
_KINDS = (
    ("ME", "Main Engine", "Propulsion", 12_000), ("AE", "Auxiliary Engine", "Power Generation", 1_200),
    ("EG", "Emergency Generator", "Power Generation", 250), ("BL", "Auxiliary Boiler", "Boiler", 900),
    ("FP", "Fuel Oil Purifier", "Separator", 15), ("LP", "Lubricating Oil Purifier", "Separator", 11),
    ("FT", "Fuel Oil Transfer Pump", "Pump", 18), ("LO", "Lubricating Oil Pump", "Pump", 30),
    ("SW", "Sea Water Cooling Pump", "Pump", 45), ("FW", "Fresh Water Cooling Pump", "Pump", 37),
    ("BP", "Ballast Pump", "Pump", 90), ("BG", "Bilge Pump", "Pump", 7), ("FI", "Fire Pump", "Safety", 55),
    ("FG", "Fresh Water Generator", "Heat Exchanger", 12),
    ("HE", "Plate Heat Exchanger", "Heat Exchanger", 0), ("SC", "Starting Air Compressor", "Compressor", 22),
    ("CC", "Control Air Compressor", "Compressor", 11), ("AC", "Air Conditioning Unit", "HVAC", 60),
    ("RF", "Provision Refrigeration Plant", "HVAC", 9), ("SG", "Steering Gear", "Steering", 75),
    ("BT", "Bow Thruster", "Propulsion", 800), ("WL", "Anchor Windlass", "Deck Machinery", 110),
    ("MW", "Mooring Winch", "Deck Machinery", 65), ("CR", "Deck Crane", "Deck Machinery", 140),
    ("LB", "Lifeboat Davit", "Safety", 5), ("CO", "CO2 System", "Safety", 0),
    ("FD", "Fire Detection Panel", "Safety", 1), ("SP", "Sewage Treatment Plant", "Environmental", 6),
    ("OW", "Oily Water Separator", "Environmental", 4),
    ("BW", "Ballast Water Treatment System", "Environmental", 80), ("IN", "Incinerator", "Environmental", 20),
    ("RD", "Radar", "Navigation", 25), ("EC", "ECDIS", "Navigation", 1),
    ("GY", "Gyro Compass", "Navigation", 1), ("VD", "Voyage Data Recorder", "Navigation", 1),
    ("GM", "GMDSS Console", "Communication", 2), ("SB", "Main Switchboard", "Electrical", 0),
    ("TR", "Transformer", "Electrical", 0), ("UP", "Uninterruptible Power Supply", "Electrical", 10),
    ("CP", "Cargo Pump", "Cargo", 350),
)  # fmt: skip
_MAKERS = (
    "Alfa Laval", "Wärtsilä", "MAN Energy Solutions", "Kongsberg Maritime", "Rolls-Royce", "Yanmar",
    "Daihatsu", "MacGregor", "Furuno", "ABB", "Siemens", "Sperre", "Tamrotor", "Grundfos", "Framo",
    "Naniwa Pump", "Brunvoll",
)  # fmt: skip


class Machine(NamedTuple):
    """What a maker sells under one model number."""

    prefix: str
    name: str
    type: str
    maker: str
    model: str
    specifications: str


@lru_cache(maxsize=1)
def machines() -> list[Machine]:
    """About two thousand of them."""
    rng = Random("catalogue")
    return [_machine(rng, kind, unit) for kind in _KINDS for unit in range(1, 5) for _ in range(12)]


def _machine(rng: Random, kind: tuple[str, str, str, int], unit: int) -> Machine:
    prefix, name, type_, power = kind
    model = f"{prefix}{rng.randrange(10, 99)}-{rng.randrange(100, 999)}{rng.choice('ABDX')}"
    data = [f'"weight_kg": {rng.randrange(50, 20_000) / 4:.2f}']
    if power:
        data.append(f'"power_kw": {power * rng.randrange(60, 140) / 100:g}')
        data.append(f'"voltage": "{rng.choice((230, 400, 440, 690))} V"')
    if type_ in ("Pump", "Cargo"):
        data.append(
            f'"capacity": {{"flow_m3h": {rng.randrange(5, 900)}, "head_m": {rng.randrange(10, 120)}.5}}'
        )
    if rng.random() < 0.3:
        data.append(f'"ip_class": "IP{rng.choice((44, 54, 56, 67))}"')
    return Machine(
        prefix, f"{name} No. {unit}", type_, rng.choice(_MAKERS), model, "{" + ", ".join(data) + "}"
    )


@lru_cache(maxsize=1)
def service_records() -> list[str]:
    """The metadata of an equipment, to choose from."""
    rng = Random("service records")
    records = []
    for _ in range(2048):
        data = [
            f'"running_hours": {rng.randrange(100, 80_000)}',
            f'"surveyed": {rng.choice(("true", "false"))}',
        ]
        if rng.random() < 0.7:
            day = f"{rng.randrange(2021, 2024)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
            data.append(f'"last_maintenance_date": "{day}{rng.choice(("", "", "T08:30:00Z"))}"')
        if rng.random() < 0.2:
            data.append('"tags": ["critical spares", "class item"]')
        records.append("{" + ", ".join(data) + "}")
    return records
