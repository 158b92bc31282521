"""Studies of a finished search; each leaves a JSON file and a picture in the run folder."""

from supernet.searching.studies.landscape import LandscapeConfig, landscape
from supernet.searching.studies.ranking import RankingConfig, rank
from supernet.searching.studies.strength import StrengthConfig, strength

__all__ = [
    "LandscapeConfig",
    "RankingConfig",
    "StrengthConfig",
    "landscape",
    "rank",
    "strength",
]
