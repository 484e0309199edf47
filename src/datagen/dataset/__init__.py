"""From accepted and rejected rows to a release that people browse, load, cite and check."""
