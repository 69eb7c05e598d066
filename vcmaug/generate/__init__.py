"""Generation: a plan of requests, fixed micro-batches, shards, and the workers that draw them."""
