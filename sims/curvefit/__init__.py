"""A surrogate for any table of recorded learning curves.

A curve is a mean curve, plus a few principal curves whose weights a Gaussian process predicts from
the config, plus what the nearest recorded config's curve has beyond its own prediction. The last
part keeps jumps, rises and ripples, which an average of neighbours would smooth away. Which configs
diverge, and when, is copied from recorded neighbours; the noise between seeds is drawn from
recorded repetitions. Recorded configs are answered as they were recorded.
"""
