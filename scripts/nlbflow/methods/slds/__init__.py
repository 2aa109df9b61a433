"""Switching linear dynamical systems with Poisson counts. Begin with `fit`, which calls the other modules."""
