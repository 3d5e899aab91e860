"""What runs leave behind, and the way to numbers: records, W&B logs, tables, statistics; torch-free."""
