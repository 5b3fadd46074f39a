"""Why a document was found.

``words`` where latents fired, ``records`` what an explanation is, ``make`` how one is made, ``html`` how it looks.
"""

from splare_plugins.model.explanation.make import Explainer, compare, explain
from splare_plugins.model.explanation.records import (
    Comparison,
    Explanation,
    Firing,
    LatentDifference,
    LatentMatch,
    RankingExplanation,
)

__all__ = [
    "Comparison",
    "Explainer",
    "Explanation",
    "Firing",
    "LatentDifference",
    "LatentMatch",
    "RankingExplanation",
    "compare",
    "explain",
]
