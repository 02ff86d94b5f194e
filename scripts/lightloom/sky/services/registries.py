"""Services of the embedded sky that list targets: what NED, SIMBAD, VizieR and others know of them.

Every one of them knows the targets around which the sky is built, under the columns that the real
one has.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky.fields import described_field
from lightloom.sky.services.tables import to_table
from lightloom.sky.streams import random_stream
from lightloom.sky.targets import Target

#: Publications, and how many of the targets they list; all without a number.
PUBLICATIONS = {
    "2015ApJ...800..144L": None,
    "2016MNRAS.457..389M": 10,
    "2016ApJ...826..188R": 3,
    "2018ApJ...862..109Y": None,
    "2019A&A...627A..33D": None,
    "2019MNRAS.491.4925G": 5,
    "2020ApJ...889...46S": 6,
    "2021AJ....162..206S": 4,
    "2022ApJ...927..227L": None,
    "2022MNRAS.511...54H": 2,
    "2022MNRAS.513L..57L": 4,
}

#: A name that has all that a query or an address could stumble over, of the first target.
AWKWARD_NAME = """NAME Weaver's "Loom" & 100%? #1; --"""

#: An object that SIMBAD knows, but not where it is.
LOST_NAME = "NAME Lost Shuttle"

#: Quasars besides the targets.
N_QUASARS = 2500

#: Part of the spectra that are no quasars, and of those that are doubtful.
_OTHERS, _DOUBTFUL = 0.05, 0.04


def _position(ra: str, dec: str) -> list[pa.Field]:
    return [
        described_field(ra, pa.float64(), "right ascension", "deg", ucd="pos.eq.ra;meta.main"),
        described_field(dec, pa.float64(), "declination", "deg", ucd="pos.eq.dec;meta.main"),
    ]


NED = pa.schema(
    [
        described_field("refcode", pa.string(), "publication", ucd="meta.bib.bibcode"),
        described_field("Object Name", pa.string(), "preferred name", ucd="meta.id;meta.main"),
        *_position("RA", "DEC"),
        described_field("Type", pa.string(), "type", ucd="src.class"),
        described_field("Redshift", pa.float64(), "redshift", ucd="src.redshift"),
    ]
)
BASIC = pa.schema(
    [
        described_field("oid", pa.int64(), "key of the object", ucd="meta.record"),
        described_field("main_id", pa.string(), "main identifier", ucd="meta.id;meta.main"),
        *_position("ra", "dec"),
        described_field("otype", pa.string(), "type", ucd="src.class"),
    ]
)
IDENT = pa.schema(
    [
        described_field("id", pa.string(), "identifier", ucd="meta.id"),
        described_field("oidref", pa.int64(), "key of the object", ucd="meta.record"),
    ]
)
REF = pa.schema(
    [
        described_field("oidbib", pa.int64(), "key of the publication", ucd="meta.record"),
        described_field("bibcode", pa.string(), "bibcode", ucd="meta.bib.bibcode"),
    ]
)
HAS_REF = pa.schema(
    [
        described_field("oidref", pa.int64(), "key of the object", ucd="meta.record"),
        described_field("oidbibref", pa.int64(), "key of the publication", ucd="meta.record"),
        described_field("obj_freq", pa.int32(), "mentions", ucd="meta.number"),
    ]
)
NAMES = pa.schema(
    [
        described_field("name", pa.string(), "name", ucd="meta.id"),
        described_field("main_id", pa.string(), "main identifier", ucd="meta.id;meta.main"),
        *_position("ra", "dec"),
    ]
)
OBJECTS = pa.schema(
    [
        described_field("oid", pa.string(), "object", ucd="meta.id;meta.main"),
        described_field("ndet", pa.int32(), "detections", ucd="meta.number"),
        described_field("firstmjd", pa.float64(), "first detection", "d", ucd="time.start"),
        described_field("lastmjd", pa.float64(), "last detection", "d", ucd="time.end"),
        described_field("meanra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra"),
        described_field("meandec", pa.float64(), "declination", "deg", ucd="pos.eq.dec"),
        described_field("class", pa.string(), "class", ucd="src.class"),
    ]
)
SPECTRA = pa.schema(
    [
        described_field("specObjID", pa.int64(), "spectrum", ucd="meta.id;meta.main"),
        *_position("ra", "dec"),
        described_field("z", pa.float64(), "redshift", ucd="src.redshift"),
        described_field("zWarning", pa.int32(), "0 if it is good", ucd="meta.code.qual"),
        described_field("class", pa.string(), "class", ucd="src.class"),
    ]
)
_VIZIER = (
    described_field("recno", pa.int32(), "record", ucd="meta.record"),
    described_field("SDSS", pa.string(), "name", ucd="meta.id;meta.main"),
)


def ned_objects(targets: Sequence[Target]) -> pa.Table:
    """Return a row for each object of each publication."""
    rows = [
        (bibcode, target) for bibcode, number in PUBLICATIONS.items() for target in targets[:number]
    ]
    columns = {
        "refcode": [bibcode for bibcode, _ in rows],
        "Object Name": [target.objectid for _, target in rows],
        "RA": [target.ra_deg for _, target in rows],
        "DEC": [target.dec_deg for _, target in rows],
        "Type": ["QSO"] * len(rows),
        "Redshift": [0.1 + 0.01 * number for number in range(len(rows))],
    }
    return to_table(columns, NED)


def simbad_tables(targets: Sequence[Target]) -> dict[str, pa.Table]:
    """Return the tables ``basic``, ``ident``, ``ref`` and ``has_ref``."""
    lost = len(targets) + 1
    main_ids = [*(target.objectid for target in targets), LOST_NAME]
    basic = {
        "oid": list(range(1, lost + 1)),
        "main_id": main_ids,
        "ra": [*(target.ra_deg for target in targets), None],
        "dec": [*(target.dec_deg for target in targets), None],
        "otype": ["QSO"] * lost,
    }
    links = [
        (number, key)
        for key, n_objects in enumerate(PUBLICATIONS.values(), start=1)
        for number in range(1, len(targets[:n_objects]) + 1)
    ]
    has_ref = {
        "oidref": [number for number, _ in links],
        "oidbibref": [key for _, key in links],
        "obj_freq": [1] * len(links),
    }
    return {
        "basic": pa.table(basic, schema=BASIC),
        "ident": to_table(
            {"id": [*main_ids, AWKWARD_NAME], "oidref": [*range(1, lost + 1), 1]}, IDENT
        ),
        "ref": to_table(
            {"oidbib": range(1, len(PUBLICATIONS) + 1), "bibcode": list(PUBLICATIONS)}, REF
        ),
        "has_ref": to_table(has_ref, HAS_REF),
    }


def sesame_names(targets: Sequence[Target]) -> pa.Table:
    """Return the names that Sesame finds, without regard to case and space."""
    named = [*((target.objectid, target) for target in targets), (AWKWARD_NAME, targets[0])]
    columns = {
        "name": [name for name, _ in named],
        "main_id": [target.objectid for _, target in named],
        "ra": [target.ra_deg for _, target in named],
        "dec": [target.dec_deg for _, target in named],
    }
    return to_table(columns, NAMES)


def vizier_tables(targets: Sequence[Target]) -> dict[str, pa.Table]:
    """Return tables of two publications, by their names."""
    numbers = np.arange(1, len(targets) + 1)
    common: dict[str, object] = {
        "recno": numbers,
        "SDSS": [target.objectid for target in targets],
        "_RAJ2000": [target.ra_deg for target in targets],
        "_DEJ2000": [target.dec_deg for target in targets],
    }
    own: dict[str, dict[str, object]] = {
        "J/ApJ/874/8/table1": {
            "CLQ_": numbers % 2,
            "Nsigma": 1.5 + (numbers % 4),
        },
        "J/ApJ/874/8/table2": {"Mg2": 40.0 + numbers},
        "J/ApJ/933/180/table2": {
            "Notes": ["new CLQ" if number % 3 == 0 else "quiet" for number in numbers]
        },
    }
    tables = {}
    for name, columns in own.items():
        fields = [
            described_field(key, pa.array(values).type, "of the publication", ucd="meta")
            for key, values in columns.items()
        ]
        position = _position("_RAJ2000", "_DEJ2000")
        schema = pa.schema([*_VIZIER, *position, *fields], {"name": name})
        tables[name] = to_table({**common, **columns}, schema)
    return tables


def spectra(targets: Sequence[Target], seed: int) -> pa.Table:
    """Return the spectra of the targets and of quasars all over the northern sky."""
    rng = random_stream(seed, "quasars")
    n_rows = len(targets) + N_QUASARS
    kind = rng.random(n_rows)
    steps = rng.integers(1, 10**12, n_rows)
    frame = pd.DataFrame(
        {
            "specObjID": 299_489_676_975_171_584 + np.cumsum(steps),
            "ra": [*(t.ra_deg for t in targets), *rng.uniform(0.0, 360.0, N_QUASARS)],
            "dec": [
                *(t.dec_deg for t in targets),
                *np.degrees(np.arcsin(rng.uniform(-0.1, 0.95, N_QUASARS))),
            ],
            "z": rng.gamma(4.0, 0.4, n_rows),
            "zWarning": np.where(rng.random(n_rows) < _DOUBTFUL, 4, 0),
            "class": np.where(kind < _OTHERS, "GALAXY", "QSO"),
        }
    )
    # A data base has no order of its own.
    return to_table(frame.iloc[rng.permutation(n_rows)], SPECTRA)


def ztf_objects(targets: Sequence[Target]) -> pa.Table:
    """Return an object of the broker for each target."""
    n_rows = len(targets)
    columns = {
        "oid": [ztf_id(number) for number in range(n_rows)],
        "ndet": 5 + np.arange(n_rows),
        "firstmjd": 58_200.0 + np.arange(n_rows),
        "lastmjd": 60_000.0 + np.arange(n_rows),
        "meanra": [target.ra_deg for target in targets],
        "meandec": [target.dec_deg for target in targets],
        "class": ["AGN"] * n_rows,
    }
    return to_table(columns, OBJECTS)


def ztf_id(number: int) -> str:
    """Return the id of the broker's object for a target, by its number."""
    letters = ""
    for _ in range(7):
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    return f"ZTF18{letters}"
