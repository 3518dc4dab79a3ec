"""Figures in one style, run facts and the Markdown report."""
