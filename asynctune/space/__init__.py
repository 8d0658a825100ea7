"""Config spaces: what is tuned, and over which values.

A space is a plain dict of domains and constants::

    space = {
        "lr": loguniform(1e-6, 1e-3),
        "batch_size": randint(16, 48),
        "epochs": 40,
    }

`ConfigSpace` gives it its meaning: sampling, encoding, defaults, JSON.
"""

from asynctune.space._config_space import Config as Config
from asynctune.space._config_space import ConfigSpace as ConfigSpace
from asynctune.space._domain import Domain as Domain
from asynctune.space._finite import Choice as Choice
from asynctune.space._finite import Grid as Grid
from asynctune.space._finite import Ordinal as Ordinal
from asynctune.space._functions import choice as choice
from asynctune.space._functions import finrange as finrange
from asynctune.space._functions import logfinrange as logfinrange
from asynctune.space._functions import lograndint as lograndint
from asynctune.space._functions import loguniform as loguniform
from asynctune.space._functions import ordinal as ordinal
from asynctune.space._functions import randint as randint
from asynctune.space._functions import reverseloguniform as reverseloguniform
from asynctune.space._functions import uniform as uniform
from asynctune.space._listed import ListedSpace as ListedSpace
from asynctune.space._numeric import FloatRange as FloatRange
from asynctune.space._numeric import IntRange as IntRange
