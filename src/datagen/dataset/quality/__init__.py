"""How good a release is, in the field's own metrics, beside what was published for other sets."""

from datagen.dataset.quality.report import QualityReport, is_release, measure_folder, measure_release

__all__ = ["QualityReport", "is_release", "measure_folder", "measure_release"]
