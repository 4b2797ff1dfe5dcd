-- Has a lease hold something else. ARGV: its tag, what.
if redis.call('HEXISTS', UNACKED, ARGV[1]) == 1 then
    redis.call('HSET', UNACKED, ARGV[1], ARGV[2])
end
return 0
