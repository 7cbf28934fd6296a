"""A run as whoever did not start it sees it: from its folder and its aggregator, without holding or changing either."""
