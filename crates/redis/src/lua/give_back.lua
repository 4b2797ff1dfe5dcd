-- Puts leased messages back where they are served next; the last one given is served first.
-- ARGV, of each: tag, exchange, key, step, payload, the score that it may have at most or ''. Those without are leases of
-- our own, whose queue may have been deleted meanwhile. Returns how many were put back.
local count = 0
for at = 1, #ARGV, 6 do
    local tag, exchange, key, step, payload, limit = unpack(ARGV, at, at + 5)
    local score = redis.call('ZSCORE', INDEX, tag)
    local due = limit == '' or score and tonumber(score) <= tonumber(limit)
    if due and redis.call('HEXISTS', UNACKED, tag) == 1 then
        local queues = exchange == '' and { key } or route(exchange, key)
        if limit == '' and not exists(key) then
            redis.call('HDEL', UNACKED, tag)
            redis.call('ZREM', INDEX, tag)
        elseif #queues == 0 then
            -- Nobody is bound to take it: it stays for another time.
            redis.call('ZADD', INDEX, 'XX', seconds(), tag)
        else
            for _, queue in ipairs(queues) do
                push('RPUSH', queue, tonumber(step), payload)
            end
            redis.call('HDEL', UNACKED, tag)
            redis.call('ZREM', INDEX, tag)
            count = count + 1
        end
    elseif due then
        redis.call('ZREM', INDEX, tag)
    end
end
return count
