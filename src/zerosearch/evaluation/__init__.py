"""Measuring a policy: questions, scores with their uncertainty, and scoring transcripts again."""
