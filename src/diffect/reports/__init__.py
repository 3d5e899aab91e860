"""From records to a paper's parts: tables and figures; torch-free."""
