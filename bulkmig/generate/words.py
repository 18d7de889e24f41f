"""The vocabulary of a fleet."""

from __future__ import annotations

SHIP_FIRST = (
    "Atlantic", "Arctic", "Baltic", "Boreal", "Celtic", "Coral", "Eastern", "Emerald", "Golden", "Iberian",
    "Nordic", "Northern", "Ocean", "Pacific", "Polar", "Royal", "Sapphire", "Silver", "Southern", "Western",
)  # fmt: skip
SHIP_SECOND = (
    "Albatross", "Aurora", "Breeze", "Champion", "Crown", "Dawn", "Eagle", "Explorer", "Falcon", "Guardian",
    "Harmony", "Horizon", "Legacy", "Mariner", "Navigator", "Pioneer", "Spirit", "Star", "Tern", "Trader",
    "Venture", "Voyager",
)  # fmt: skip
SHIP_PREFIX = ("MV", "MT", "MS", "LNGC")
VESSEL_TYPES = (
    "Bulk Carrier", "Chemical Tanker", "Container Ship", "Cruise Ship", "Crude Oil Tanker",
    "General Cargo Ship", "LNG Carrier", "Offshore Supply Vessel", "Product Tanker", "Ro-Ro Cargo Ship",
    "Tug",
)  # fmt: skip
FLAGS = (
    "Bahamas", "Cyprus", "Denmark", "Greece", "Hong Kong", "Liberia", "Malta", "Marshall Islands", "Norway",
    "Panama", "Portugal (Madeira)", "Singapore", "United Kingdom",
)  # fmt: skip
CLASS_SOCIETIES = (
    "ABS",
    "Bureau Veritas",
    "ClassNK",
    "DNV",
    "Lloyd's Register",
    "Korean Register",
    "RINA",
    "CCS",
)

COMPANY_FIRST = (
    "Anchor", "Beacon", "Blue Water", "Compass", "Deep Sea", "Fjord", "Harbour", "Lighthouse", "Meridian",
    "Midland", "Northwind", "Pelagic", "Quayside", "Seaway", "Southport", "Tidal", "Trident", "Westerly",
)  # fmt: skip
COMPANY_SECOND = (
    "Bulk",
    "Carriers",
    "Lines",
    "Marine",
    "Maritime",
    "Offshore",
    "Ship Management",
    "Shipping",
    "Tankers",
)
TIMEZONES = (
    "Europe/Oslo", "Europe/Athens", "Europe/London", "Asia/Singapore", "Asia/Hong_Kong", "America/Panama",
    "UTC", "America/New_York", "Asia/Tokyo",
)  # fmt: skip

FIRST_NAMES = (
    "Ana", "Anders", "Birgit", "Carlos", "Chen", "Dimitri", "Elena", "Emeka", "Fatima", "Giorgos", "Hana",
    "Ingrid", "Jan", "João", "Kofi", "Lars", "Maria", "Mei", "Nikos", "Olga", "Priya", "Rafael", "Sofia",
    "Søren", "Tomasz", "Yuki",
)  # fmt: skip
LAST_NAMES = (
    "Andersen", "Costa", "Fernandes", "García", "Hansen", "Ito", "Kowalski", "Lee", "Mensah", "Müller",
    "Nilsson", "Papadopoulos", "Petrov", "Reyes", "Rossi", "Santos", "Sharma", "Silva", "Tan", "Wang",
)  # fmt: skip
ROLES = ("SUPER_ADMIN", "ADMIN", "MANAGER", "TECHNICIAN", "HSE_OFFICER", "VIEWER")

# Rooms below each deck; panels and positions below each room.
DECKS = {
    "Engine Room": ("Starboard", "Port", "Lower Platform", "Upper Platform", "Control Room", "Purifier Room"),
    "Main Deck": ("Foredeck", "Midships", "Aft Deck", "Manifold", "Mooring Station"),
    "Bridge": ("Wheelhouse", "Chart Room", "Radio Room", "Monkey Island"),
    "Accommodation": ("Galley", "Hospital", "Laundry", "Provision Store"),
    "Cargo Area": ("Pump Room", "Tank 1", "Tank 2", "Tank 3", "Void Space"),
    "Steering Gear Room": ("Starboard", "Port"),
}
POSITIONS = (
    "Main Panel",
    "Local Panel",
    "Foundation",
    "Frame 12",
    "Frame 48",
    "Rack A",
    "Rack B",
    "Cabinet",
    "Bulkhead",
)

CATEGORIES = ("completeness", "accuracy", "documentation", "photos", "consistency")
REFERENCE_TYPES = ("FEEDS", "CONTROLS", "POWERED_BY", "BACKUP_OF", "DRIVES", "COOLED_BY")
NOTES = (
    "Overhauled at the last docking.",
    "Vibration slightly raised; check the alignment at the next service.",
    "Spare parts stored in the engine store, shelf B.",
    "Nameplate partly unreadable; serial number taken from the delivery documents.",
    "Runs in turn with its neighbour; change over every second week.",
)
PARTS = (
    ("Bearing", "BRG"), ("Mechanical seal", "SEAL"), ("Gasket set", "GSK"), ("Impeller", "IMP"),
    ("O-ring kit", "ORK"), ("Filter cartridge", "FLT"), ("Fuel injector", "INJ"), ("Piston ring set", "PRS"),
    ("Pressure sensor", "PS"), ("Temperature sensor", "TS"), ("Control board", "PCB"), ("Contactor", "CTR"),
    ("Drive belt", "BLT"), ("Coupling element", "CPL"), ("Relief valve", "RV"), ("Solenoid valve", "SOL"),
)  # fmt: skip
DOCUMENTS = (
    ("MANUAL", "Instruction manual", "pdf", "application/pdf"),
    ("DRAWING", "General arrangement", "dwg", "image/vnd.dwg"),
    ("CERTIFICATE", "Class certificate", "pdf", "application/pdf"),
    ("DATASHEET", "Data sheet", "pdf", "application/pdf"),
    ("PHOTO", "Nameplate", "jpg", "image/jpeg"),
    ("REPORT", "Service report", "pdf", "application/pdf"),
    ("OTHER", "Notes", "txt", "text/plain"),
)
