"""Real clusters, whose nodes and heads are killed."""
