"""The keys of a config that a report leaves out of its tables, since they change no number."""

IRRELEVANT = (
    "study",
    "study_note",
    "evidence",
    "experiment",
    "tracking",
    "panel",
    "gallery",
    "tune.hindsight",
    "hydra",
    "data.root",
    "data.workers",
    "data.cache",
    "data.source.root",
    "data.source.cache",
    "data.source.sources.folder.root",
    "data.source.sources.textures.cache",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
"""Config keys that cannot change a number: names, places, displays. Not where the data lies counts, but what it is."""
