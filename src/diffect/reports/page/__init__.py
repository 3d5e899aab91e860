"""report.html: a study as one self-contained page, with tables, plots, pictures and the runs behind each number."""
