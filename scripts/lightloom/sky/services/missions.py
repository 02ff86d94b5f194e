"""How TESS, Kepler and K2 of the embedded sky observe."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mission:
    """How a mission observes.

    Attributes
    ----------
    name : str
        As MAST calls it.
    archive : str
        As Lightloom calls it.
    zero_jd : int
        Zero of its times.
    band : str
        Band in which sources are as bright, and vary, as in its own.
    zero_point_mag : float
        Magnitude of a source that gives 1 electron/s.
    first_mjd, interval_d : float
        Start of the first sector, quarter or campaign, and from one to the next.
    last : int
        Number of the last of them.
    first_id, id_step : int
        Number of the first target, and from one to the next.
    id_prefix : str
        What stands before the number of a target.
    sequence_key : str
        Keyword of the number of the sector, quarter or campaign.
    quality_column : str
        Name of the column of flags.
    flags : tuple of int
        Bits that occur.
    sets : tuple of tuple
        Authors and cadences [s] that a target may have together in a sector.
    """

    name: str
    archive: str
    zero_jd: int
    band: str
    zero_point_mag: float
    first_mjd: float
    interval_d: float
    last: int
    first_id: int
    id_step: int
    id_prefix: str
    sequence_key: str
    quality_column: str
    flags: tuple[int, ...]
    sets: tuple[tuple[tuple[str, int], ...], ...]


_SPOC, _FAST = ("SPOC", 120), ("SPOC", 20)
_FFI, _QLP, _OLD_QLP = ("TESS-SPOC", 600), ("QLP", 600), ("QLP", 1800)
_TASOC = ("TASOC", 1800)
_LONG, _SHORT, _K2 = ("Kepler", 1800), ("Kepler", 60), ("K2", 1800)

TESS = Mission(
    name="TESS",
    archive="tess",
    zero_jd=2_457_000,
    band="i",
    # TESS Instrument Handbook.
    zero_point_mag=20.44,
    first_mjd=58_324.8,
    interval_d=27.4,
    # From sector 56 on QLP has columns of other names.
    last=55,
    first_id=100_000_003,
    id_step=7_919,
    id_prefix="TIC",
    sequence_key="SECTOR",
    quality_column="QUALITY",
    flags=(8, 32, 64, 128, 512, 1024, 4096, 16384),
    sets=(
        (_SPOC,),
        (_SPOC, _FAST),
        (_FAST,),
        (_FFI,),
        (_QLP,),
        (_FFI, _QLP),
        (_SPOC, _FFI, _QLP),
        (_OLD_QLP,),
        (_TASOC,),
    ),
)
KEPLER = Mission(
    name="Kepler",
    archive="kepler",
    zero_jd=2_454_833,
    band="r",
    zero_point_mag=25.1,
    first_mjd=54_964.0,
    interval_d=91.0,
    last=16,
    first_id=1_000_007,
    id_step=1_543,
    id_prefix="KIC",
    sequence_key="QUARTER",
    quality_column="SAP_QUALITY",
    flags=(2, 16, 128, 8192, 16384, 1048576),
    sets=((_LONG,), (_LONG,), (_LONG, _SHORT), (_SHORT,)),
)
K2 = Mission(
    name="K2",
    archive="k2",
    zero_jd=2_454_833,
    band="r",
    zero_point_mag=25.1,
    first_mjd=56_808.0,
    interval_d=80.0,
    last=17,
    first_id=201_000_011,
    id_step=3_571,
    id_prefix="EPIC",
    sequence_key="CAMPAIGN",
    quality_column="SAP_QUALITY",
    flags=(2, 16, 128, 8192, 16384, 1048576),
    sets=((_K2,),),
)
MISSIONS = (TESS, KEPLER, K2)
