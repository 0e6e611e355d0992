from rrm_env.network import *
