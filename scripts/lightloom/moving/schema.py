"""The tables of moving objects: their columns, types, units and meaning."""

from functools import partial

import pyarrow as pa

from lightloom import schema

column = partial(schema.column, nullable=False)

#: States in which an object x window x source can end; see docs/moving-objects.md.
MOVING_STATES = (
    "data",
    "truncated",
    "searched_empty",
    "outside_coverage",
    "no_ephemeris",
    "unresolved",
    "ambiguous",
    "failed",
)

#: States after which the next run asks again.
OPEN_STATES = frozenset({"failed", "truncated"})

#: Coefficients of a piece: of each component of the unit vector, and of each slow quantity.
POSITION_TERMS = 9
SCALAR_TERMS = 5

#: Slow quantities of an ephemeris, in the order of their coefficients.
SCALARS = ("r_au", "delta_au", "phase_deg", "v_mag")

EPHEMERIS = pa.schema(
    [
        column("start_mjd", pa.float64(), "first moment of the piece, UTC", unit="d"),
        column("stop_mjd", pa.float64(), "last moment of the piece, UTC", unit="d"),
        column(
            "position",
            pa.list_(pa.float64(), 3 * POSITION_TERMS),
            "Chebyshev coefficients of x, y and z of the direction (ICRS), one after the other",
        ),
        *(
            column(name, pa.list_(pa.float64(), SCALAR_TERMS), f"Chebyshev coefficients of {what}")
            for name, what in zip(
                SCALARS,
                (
                    "the distance from the Sun [au]",
                    "the distance from the observer [au]",
                    "the phase angle [deg]",
                    "the predicted V magnitude, NaN where none is given [mag]",
                ),
                strict=True,
            )
        ),
        column(
            "uncertainty_arcsec",
            pa.float64(),
            "largest 3-sigma uncertainty of the position within the piece, NaN if unknown",
            unit="arcsec",
        ),
        column(
            "error_arcsec",
            pa.float64(),
            "largest distance of the polynomials from the samples, those not fitted included",
            unit="arcsec",
        ),
        column("step_minutes", pa.float64(), "step of the samples", unit="min"),
    ]
)

ALERT = pa.schema(
    [
        column("candid", pa.int64(), "id of the alert, null if the source has none", nullable=True),
        column("alert_object", pa.string(), "object to which the survey ties it", nullable=True),
        column("time_mjd", pa.float64(), "middle of the exposure, UTC", unit="d"),
        column("exposure_s", pa.float64(), "exposure time", unit="s"),
        column("ra_deg", pa.float64(), "right ascension, ICRS", unit="deg"),
        column("dec_deg", pa.float64(), "declination, ICRS", unit="deg"),
        column("band", pa.string(), "band"),
        column("survey_field", pa.string(), "field and readout channel", nullable=True),
        column(
            "is_positive", pa.bool_(), "whether the source is brighter than in the reference image"
        ),
        column("magpsf", pa.float64(), "magnitude of the difference", unit="mag", nullable=True),
        column("sigmapsf", pa.float64(), "its 1-sigma error", unit="mag", nullable=True),
        column("magnr", pa.float64(), "nearest source of the reference", unit="mag", nullable=True),
        column("sigmagnr", pa.float64(), "its 1-sigma error", unit="mag", nullable=True),
        column("distnr_arcsec", pa.float64(), "distance to it", unit="arcsec", nullable=True),
        column("rb", pa.float64(), "real-bogus score", nullable=True),
        column("drb", pa.float64(), "real-bogus score by deep learning", nullable=True),
        column("ssnamenr", pa.string(), "nearest known object of the survey", nullable=True),
        column("ssdistnr_arcsec", pa.float64(), "distance to it", unit="arcsec", nullable=True),
    ]
)

MATCH = pa.schema(
    [
        column("objectid", pa.string(), "the moving object", ucd="meta.id;meta.main"),
        column("source", pa.string(), "the alert source", ucd="meta.curation"),
        *ALERT,
        column("predicted_ra_deg", pa.float64(), "right ascension of the track", unit="deg"),
        column("predicted_dec_deg", pa.float64(), "declination of the track", unit="deg"),
        column("separation_arcsec", pa.float64(), "distance from the track", unit="arcsec"),
        column("ra_rate_arcsec_per_h", pa.float64(), "motion in ra, times cos(dec)"),
        column("dec_rate_arcsec_per_h", pa.float64(), "motion in dec"),
        column("track_error_arcsec", pa.float64(), "error bound of the polynomials", unit="arcsec"),
        column(
            "track_uncertainty_arcsec",
            pa.float64(),
            "3-sigma uncertainty of the ephemeris",
            unit="arcsec",
            nullable=True,
        ),
        column("search_radius_arcsec", pa.float64(), "radius within which", unit="arcsec"),
        column("r_au", pa.float64(), "distance from the Sun", unit="au"),
        column("delta_au", pa.float64(), "distance from the observer", unit="au"),
        column("phase_deg", pa.float64(), "phase angle", unit="deg"),
        column("predicted_v_mag", pa.float64(), "predicted V", unit="mag", nullable=True),
        column(
            "flux_ujy",
            pa.float64(),
            "flux density of the difference, with its sign",
            unit="uJy",
            ucd="phot.flux.density",
            nullable=True,
        ),
        column("flux_err_ujy", pa.float64(), "its 1-sigma error", unit="uJy", nullable=True),
        column(
            "dc_mag",
            pa.float64(),
            "magnitude of difference and reference together, where the reference has a source",
            unit="mag",
            nullable=True,
        ),
        column("dc_mag_err", pa.float64(), "its 1-sigma error", unit="mag", nullable=True),
    ]
)

MOVING_LEDGER = pa.schema(
    [
        column("objectid", pa.string(), "the object as it is asked for", ucd="meta.id;meta.main"),
        column("window", pa.string(), "the window of time"),
        column("source", pa.string(), "the alert source", ucd="meta.curation"),
        column("state", pa.string(), "how the search ended", ucd="meta.code.status"),
        column("target_name", pa.string(), "name that the ephemeris gives it", nullable=True),
        column("n_matches", pa.int64(), "matched alerts", ucd="meta.number"),
        column("n_alerts", pa.int64(), "alerts that were looked at", ucd="meta.number"),
        column("n_requests", pa.int64(), "cones asked for"),
        column("n_pieces", pa.int64(), "pieces of the track"),
        column("error_class", pa.string(), "class of the failure", nullable=True),
        column("message", pa.string(), "what went wrong", nullable=True),
    ]
)

LABELLED = pa.schema(
    [
        column("label", pa.int8(), "1: match of the object, 0: another alert near its track"),
        *MATCH,
        column("offset_days", pa.float64(), "0, or from the alert to the moment on the track"),
    ]
)
