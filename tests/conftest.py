"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("new", print_blob=True)
# A gate that draws other examples each time fails changes that broke nothing. `HYPOTHESIS_PROFILE=new` goes looking.
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
