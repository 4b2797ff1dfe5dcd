-- Takes an owner for dead, for good, unless he has shown himself since. ARGV: who, when he did last. Returns whether he is.
if redis.call('ZSCORE', OWNERS, ARGV[1]) ~= ARGV[2] then
    return 0
end
redis.call('ZADD', OWNERS, 0, ARGV[1])
return 1
