"""Studies: what can be asked of a search beside its architecture; each is a file and a picture in the run's folder."""

from supernet.searching.studies.landscape import Landscape, LandscapeSettings, landscape
from supernet.searching.studies.ranking import Ranking, RankingSettings, rank
from supernet.searching.studies.strength import Strength, StrengthSettings, strength

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
