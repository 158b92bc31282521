"""NAO-V2 (Luo et al., 2019): pools of architectures, and a controller that makes the next pool."""
