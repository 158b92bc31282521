"""Studies: what can be asked of a search beside its architecture; each is a file and a picture in the run's folder."""

from supernet.studies.landscape import Landscape, LandscapeSettings, landscape
from supernet.studies.strength import Strength, StrengthSettings, strength

__all__ = ["Landscape", "LandscapeSettings", "Strength", "StrengthSettings", "landscape", "strength"]
