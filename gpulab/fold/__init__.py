"""Protein structures: queries, searches, folding with ColabFold, and what its results say."""
