"""Train networks on simulated susceptibility, and judge what they learnt."""
