"""A factory of training volumes: random susceptibility, its field as a scanner would give it, and what goes wrong."""
