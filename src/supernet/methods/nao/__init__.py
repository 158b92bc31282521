"""NAO-V2 (Luo et al., 2019): a supernet is trained on a pool of architectures, and a controller makes the next pool."""
