-- A sign of life. ARGV: our name, whether it is the first. Returns whose last one is too old, and when it was; nothing when
-- others have taken us for dead.
if ARGV[2] == '0' and not counts(ARGV[1]) then
    return false
end
redis.call('ZADD', OWNERS, millis(), ARGV[1])
return redis.call('ZRANGEBYSCORE', OWNERS, '-inf', millis() - DEAD, 'WITHSCORES')
