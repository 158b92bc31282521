"""ZARTS (Wang et al., NeurIPS 2022): zero-order search of the architecture."""
