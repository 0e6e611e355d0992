"""Datasets in the formats of other libraries, and their cards for Hugging Face."""
