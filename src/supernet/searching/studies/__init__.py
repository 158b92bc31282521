"""Studies of a finished search; each leaves a JSON file and a picture in the run folder."""

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
