"""What most jobs import; the process that jobs are forked from imports it once."""

from tracedlm.stages.job import startup

with startup():
    import matplotlib.pyplot  # noqa: F401
    import peft  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import torch  # noqa: F401
    from transformers import LlamaForCausalLM, Trainer  # noqa: F401
