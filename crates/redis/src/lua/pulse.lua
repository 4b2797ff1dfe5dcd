-- A sign of life. ARGV: our name, whether it is the first. Returns whose last one is too old, and when it was; nothing when
-- others have taken us for dead.
local seen = redis.call('ZSCORE', OWNERS, ARGV[1])
if ARGV[2] == '0' and (not seen or tonumber(seen) == 0) then
    return false
end
redis.call('ZADD', OWNERS, millis(), ARGV[1])
return redis.call('ZRANGEBYSCORE', OWNERS, '-inf', millis() - DEAD, 'WITHSCORES')
