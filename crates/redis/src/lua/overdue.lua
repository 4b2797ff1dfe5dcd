-- The leases that nobody has renewed for the visibility timeout, and whose owner is not one that shows signs of life.
-- Also takes away bindings that are overdue, as kombu does. ARGV: the timeout in seconds, how many at most.
local time = millis()
for _, exchange in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', time, 'LIMIT', 0, 100)) do
    if redis.call('EXISTS', PERMANENT .. exchange) == 0 then
        redis.call('DEL', BINDING .. exchange)
    end
    redis.call('ZREM', DEADLINES, exchange)
end
local limit = string.format('%.6f', time / 1000 - tonumber(ARGV[1]))
local tags = { limit }
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', INDEX, '-inf', limit, 'LIMIT', 0, ARGV[2])) do
    local owner = tag:match('^(celeriac%-%x+)%.')
    if not owner or not alive(owner) then
        tags[#tags + 1] = tag
    end
end
return tags
