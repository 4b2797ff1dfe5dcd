-- A sign of life. ARGV: our name. Returns whose last one is too old, and when it was.
redis.call('ZADD', OWNERS, millis(), ARGV[1])
return redis.call('ZRANGEBYSCORE', OWNERS, '-inf', millis() - DEAD, 'WITHSCORES')
