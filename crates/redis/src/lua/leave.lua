-- Takes away what goes with an owner: his consumers, and the queues that go with them. A queue that somebody else who
-- lives has declared too waits for his consumers. ARGV: who.
local owner, others = ARGV[1], nil

local function heir(queue)
    others = others or redis.call('ZRANGE', OWNERS, 0, -1)
    for _, other in ipairs(others) do
        if other ~= owner and redis.call('SISMEMBER', OWNED .. other, queue) == 1 and alive(other) then
            return other
        end
    end
end

for _, queue in ipairs(redis.call('SMEMBERS', OWNED .. owner)) do
    for _, consumer in ipairs(redis.call('SMEMBERS', CONSUMERS .. queue)) do
        if consumer:sub(1, #owner + 1) == owner .. '.' then
            redis.call('SREM', CONSUMERS .. queue, consumer)
        end
    end
    local row = queue_row(queue)
    if row and row.exclusive and row.owner == owner then
        delete_queue(queue)
    elseif row and row.auto_delete and redis.call('EXISTS', CONSUMERS .. queue) == 0 and not heir(queue) then
        delete_queue(queue)
    end
end
forget(OWNED .. owner)
redis.call('ZREM', OWNERS, owner)
return 0
