"""Light curves of any sample of targets from the public archives."""

__version__ = "0.1.0"
