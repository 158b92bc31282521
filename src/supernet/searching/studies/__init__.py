"""Studies: what can be asked of a search beside its architecture; each is a file and a picture in the run's folder."""

from supernet.searching.studies.landscape import Landscape, LandscapeConfig, landscape
from supernet.searching.studies.ranking import Ranking, RankingConfig, rank
from supernet.searching.studies.strength import Strength, StrengthConfig, strength

__all__ = [
    "Landscape",
    "LandscapeConfig",
    "Ranking",
    "RankingConfig",
    "Strength",
    "StrengthConfig",
    "landscape",
    "rank",
    "strength",
]
