"""Masks: predicting, scoring and drawing them."""
