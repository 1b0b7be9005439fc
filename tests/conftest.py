"""Hypothesis profiles: HYPOTHESIS_PROFILE=dev (the default), ci or nightly."""

import os

from hypothesis import HealthCheck, settings

# Generating whole clusters is slow at first, while hypothesis still compiles its strategies.
_PATIENT = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile(
    "dev",
    max_examples=100,
    deadline=None,
    suppress_health_check=_PATIENT,
    database=None,
    report_multiple_bugs=False,
)
settings.register_profile(
    "ci", settings.get_profile("dev"), max_examples=300, derandomize=True, print_blob=True
)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
