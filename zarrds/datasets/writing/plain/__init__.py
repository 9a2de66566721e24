"""A dataset of whatever pandas knows -> plain arrays and notes."""
