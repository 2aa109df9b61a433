"""Gaussian-process factor analysis with Poisson or Gaussian counts. Begin with `inference`, then `fit`."""
