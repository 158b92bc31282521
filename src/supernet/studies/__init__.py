"""Studies: what can be asked of a search beside its architecture; each is a file and a picture in the run's folder."""

from supernet.studies.landscape import Landscape, LandscapeSettings, landscape
from supernet.studies.ranking import Ranking, RankingSettings, rank
from supernet.studies.strength import Strength, StrengthSettings, strength

__all__ = [
    "Landscape",
    "LandscapeSettings",
    "Ranking",
    "RankingSettings",
    "Strength",
    "StrengthSettings",
    "landscape",
    "rank",
    "strength",
]
