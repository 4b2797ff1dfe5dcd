worker_prefetch_multiplier = 9
broker_url = "memory://"
