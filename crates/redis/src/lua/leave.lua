-- Takes away what goes with an owner: his consumers, and the queues that go with them. ARGV: who.
local owner = ARGV[1]
for _, queue in ipairs(redis.call('SMEMBERS', OWNED .. owner)) do
    for _, consumer in ipairs(redis.call('SMEMBERS', CONSUMERS .. queue)) do
        if consumer:sub(1, #owner + 1) == owner .. '.' then
            redis.call('SREM', CONSUMERS .. queue, consumer)
        end
    end
    local row = queue_row(queue)
    if row and row.exclusive and row.owner == owner then
        delete_queue(queue)
    elseif row and row.auto_delete and redis.call('EXISTS', CONSUMERS .. queue) == 0 then
        delete_queue(queue)
    end
end
redis.call('DEL', OWNED .. owner)
redis.call('ZREM', OWNERS, owner)
return 0
