"""What a comparison of incremental detectors says, in sentences that its paired intervals carry."""

from __future__ import annotations

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import comparable, not_comparable, verdicts

JUDGED = ("ap_all", "ap_base", "ap_new")


def detection_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others, and every arm with joint training where that is among them."""
    if not comparable(result):
        return [not_comparable(result)]
    judged = [info for info in result.described if info.name in JUDGED]
    found = [sentence for info in judged if (sentence := verdicts(result, info, ("better than", "worse than")))]
    means = result.summary[(result.summary["metric"] == "ap_all").to_numpy(bool)].set_index("arm")["mean"].astype(float)
    if "joint" in means.index and means["joint"] > 0:
        others = [arm for arm in result.arms if arm != "joint" and arm in means.index]
        gaps = [f"{arm} {(means['joint'] - means[arm]) / means['joint']:.0%}" for arm in others]
        found.append(f"Relative gap to joint training in AP over all classes: {', '.join(gaps)}.")
    return found
