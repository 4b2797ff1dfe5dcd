-- Gives up a lock that is still ours, as redis-py does. ARGV: its key, our token.
if redis.call('GET', ARGV[1]) == ARGV[2] then
    redis.call('DEL', ARGV[1])
end
return 0
