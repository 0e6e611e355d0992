"""How far from optimal: the best that any scheduler can reach in each evaluation episode.

What is listed in ``__all__`` is public.

A scheduler that knows the large-scale gains but not the present fading gives a user, in a step in
which a set of access points transmits, the mean rate over the fading (`baselines.ergodic_rate`). So
the users' mean rates lie in the convex hull of what joint actions give, and the best of them is a
linear program over shares of time: the fluid optimum. No scheduler exceeds it in expectation, in
the sum rate, in the lowest rate or in the score whose tail is the lowest rate. Eq. 10's tail leaves
out users and is not concave, so there luck can help a little.
"""

from baselines.optimum.results import Optimum, Schedules, optimum

__all__ = ["Optimum", "Schedules", "optimum"]
