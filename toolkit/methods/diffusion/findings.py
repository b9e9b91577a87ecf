"""What a comparison of distillations says, in sentences that its paired intervals carry."""

from __future__ import annotations

from toolkit.analysis.comparison import Comparison
from toolkit.analysis.findings import comparable, not_comparable, verdicts


def diffusion_findings(result: Comparison) -> list[str]:
    """Compare the first arm with the others, clf-FID by clf-FID."""
    if not comparable(result):
        return [not_comparable(result)]
    judged = [info for info in result.described if info.name.startswith(("clf_fid@", "projected_fid@"))]
    return [sentence for info in judged if (sentence := verdicts(result, info, ("better than", "worse than")))]
