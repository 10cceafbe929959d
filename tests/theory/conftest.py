from hypothesis import settings

# A busy machine is not a wrong equation: no time limit for one example.
settings.register_profile("theory", deadline=None)
settings.load_profile("theory")
