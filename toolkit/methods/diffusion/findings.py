"""What a comparison of distillations says, in sentences that its paired intervals carry."""

from __future__ import annotations

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import comparable, not_comparable, verdicts
from toolkit.methods.diffusion.settings import Judging


def diffusion_findings(result: Comparison) -> list[str]:
    """Say what the distances are to be read with, and compare the first arm with the others, distance by distance."""
    if not comparable(result):
        return [not_comparable(result), *_settings(result)]
    judged = [info for info in result.described if info.name.startswith(("clf_fid@", "fid@", "projected_fid@"))]
    return [*(sentence for info in judged if (sentence := verdicts(result, info, ("better than", "worse than")))), *_settings(result)]


def _settings(result: Comparison) -> list[str]:
    """What moves a distance as much as a method does."""
    judging = getattr(result.scenario.program, "judging", Judging())
    widths = " and ".join(map(str, judging.metric_widths))
    return [
        f"Every distance is of {judging.samples:,} samples against all training images, not resized; steps are evenly spaced; the base's "
        f"weights are averaged (EMA), students' are not. The judge of clf-FID has {widths} channels, {judging.feature_steps} steps of "
        "training and another seed than the network in the losses."
    ]
