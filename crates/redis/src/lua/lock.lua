-- Takes a lock that nobody has, as redis-py does. ARGV: its key, a token, for how many ms. Returns whether it is ours.
return redis.call('SET', ARGV[1], ARGV[2], 'NX', 'PX', ARGV[3]) and 1 or 0
