"""From single runs to medians, ratios per pair, and a table."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

#: The methods that are ours; all others are rivals.
OURS = ("workflow", "engine")

_QUANTITIES = (
    "wall_s",
    "total_s",
    "cpu_s",
    "read_bytes",
    "largest_process_rss_bytes",
    "tree_rss_bytes",
)
_MIB = 1 << 20


def summarise(case: dict[str, Any]) -> dict[str, Any]:
    """Add medians, ratios and agreement to a case.

    Parameters
    ----------
    case : dict
        ``minimum_bytes`` (for the ``product`` columns of the workflow and the ``core`` columns of
        the other methods) and ``runs``: what each method took in each repeat, with ``method`` and
        ``repeat``.

    Returns
    -------
    dict
        The case with ``medians`` (method to quantity), ``ratios`` (ours to rival to quantity:
        the median over the repeats of rival over ours, above 1 where ours is better),
        ``bytes_over_minimum`` (method to median) and ``agree``.
    """
    runs = {(run["method"], run["repeat"]): run for run in case["runs"]}
    methods = list(dict.fromkeys(method for method, _ in runs))
    repeats = sorted({repeat for _, repeat in runs})
    medians = {
        method: {
            quantity: median(runs[method, repeat][quantity] for repeat in repeats)
            for quantity in _QUANTITIES
        }
        for method in methods
    }
    ratios = {
        ours: {
            rival: {
                quantity: median(
                    runs[rival, repeat][quantity] / runs[ours, repeat][quantity]
                    for repeat in repeats
                )
                for quantity in _QUANTITIES
            }
            for rival in methods
            if rival not in OURS
        }
        for ours in OURS
        if ours in methods
    }
    return {
        **case,
        "medians": medians,
        "ratios": ratios,
        "bytes_over_minimum": {
            method: medians[method]["read_bytes"]
            / case["minimum_bytes"]["product" if method == "workflow" else "core"]
            for method in methods
        },
        "agree": _agree([run["compared"] for run in case["runs"]]),
    }


def _agree(compared: Sequence[dict[str, Any]]) -> bool:
    """Tell whether all runs have found the same rows: sums of floats may differ in their order."""
    first = compared[0]
    return first["rows"] > 0 and all(
        other["rows"] == first["rows"]
        and other["key_sum"] == first["key_sum"]
        and other["flux_sums"].keys() == first["flux_sums"].keys()
        and all(
            abs(total - first["flux_sums"][band]) <= 1e-9 * abs(total)
            for band, total in other["flux_sums"].items()
        )
        for other in compared
    )


def format_case(case: dict[str, Any], aims: dict[str, float]) -> str:
    """Return a summarised case as text.

    Parameters
    ----------
    case : dict
        From `summarise`.
    aims : dict
        Rival to the ratio of wall times that is aimed at.
    """
    rows = case["runs"][0]["compared"]["rows"]
    agreement = f"all methods found the same {rows} rows"
    lines = [
        f"{case['kind']}, {case['layout']}, {case['n_targets']} targets: "
        + (agreement if case["agree"] else "THE METHODS DISAGREE"),
        f"  {'method':16} {'wall':>8} {'total':>8} {'CPU':>8} {'read':>9} {'/ minimum':>9}"
        f" {'largest RSS':>12} {'tree RSS':>9}",
    ]
    for method, took in case["medians"].items():
        lines.append(
            f"  {method:16} {took['wall_s']:6.2f} s {took['total_s']:6.2f} s"
            f" {took['cpu_s']:6.2f} s {took['read_bytes'] / _MIB:5.0f} MiB"
            f" {case['bytes_over_minimum'][method]:9.2f}"
            f" {took['largest_process_rss_bytes'] / _MIB:8.0f} MiB"
            f" {took['tree_rss_bytes'] / _MIB:5.0f} MiB"
        )
    lines += [line for ours in case["ratios"] for line in _ratio_lines(case, ours, aims)]
    return "\n".join(lines)


def _ratio_lines(case: dict[str, Any], ours: str, aims: dict[str, float]) -> Iterable[str]:
    for rival, ratio in case["ratios"][ours].items():
        aim = aims.get(rival.split()[0])
        yield (
            f"  {rival} / {ours}: wall {ratio['wall_s']:.1f}"
            + (f" (aim {aim:.0f})" if aim else "")
            + f", total {ratio['total_s']:.1f}, CPU {ratio['cpu_s']:.1f},"
            f" read {ratio['read_bytes']:.1f}, RSS {ratio['largest_process_rss_bytes']:.1f}"
        )
